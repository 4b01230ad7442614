"""What can go wrong between a bare machine and a local broker that answers."""

from streams.errors import BrokerUnreachableError, ConfigurationError


class DownloadError(BrokerUnreachableError):
    """A jar could not be fetched whole, or its bytes are not the pinned ones."""


class JavaError(ConfigurationError):
    """There is no Java here, or none that is new enough."""


class LocalKafkaError(BrokerUnreachableError):
    """The local broker could not be started, or not be stopped; the message says why."""
