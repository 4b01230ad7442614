"""A real, single-node Kafka from its jars: for a first look, for development and for the tests."""
