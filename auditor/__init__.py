"""The independent judge of deliveries: recounts what every tenant topic must hold, and compares.

It shares no code with the router. From `schemas` it takes the `.avsc` files, the frame ids and
the names of the reasons; the rule it judges by is docs/authorization-log.md.
"""
