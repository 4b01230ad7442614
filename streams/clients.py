"""The one place that builds plain Kafka clients, every delivery option spelled out.

aiokafka's defaults are `read_uncommitted` and `acks=1`: neither is good enough for anything here.
Transactional producers are built in `streams/transactions.py`, on top of `connection`.
"""

from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaConnectionError, KafkaError
from aiokafka.helpers import create_ssl_context

from streams.errors import BrokerUnreachableError, ConfigurationError
from streams.settings import KafkaSettings

ADDRESS_HINT = (
    "start a local broker with `midgate up`, or give an address by --bootstrap or MIDGATE_BOOTSTRAP"
)


def connection(kafka: KafkaSettings) -> dict[str, Any]:
    """Options that every client shares: address, security, time-out."""
    if not kafka.bootstrap:
        raise ConfigurationError("no broker address is set", hint=ADDRESS_HINT)
    options: dict[str, Any] = {
        "bootstrap_servers": kafka.bootstrap,
        "security_protocol": kafka.security_protocol,
        "request_timeout_ms": kafka.request_timeout_ms,
    }
    if kafka.security_protocol.endswith("SSL"):
        options["ssl_context"] = create_ssl_context()
    if kafka.security_protocol.startswith("SASL"):
        options["sasl_mechanism"] = kafka.sasl_mechanism
        options["sasl_plain_username"] = kafka.sasl_username
        options["sasl_plain_password"] = kafka.sasl_password.get_secret_value()
    return options


def consumer(
    kafka: KafkaSettings, *, isolation_level: str = "read_committed", **options: Any
) -> AIOKafkaConsumer:
    """A consumer that never commits by itself and never guesses an offset."""
    return AIOKafkaConsumer(
        **connection(kafka),
        isolation_level=isolation_level,
        enable_auto_commit=False,
        **{"auto_offset_reset": "none", **options},
    )


def idempotent_producer(kafka: KafkaSettings, **options: Any) -> AIOKafkaProducer:
    """A producer outside transactions: acks=all, idempotent: a retry inside it never doubles."""
    return AIOKafkaProducer(
        **connection(kafka), acks="all", enable_idempotence=True, retry_backoff_ms=20, **options
    )


def admin(kafka: KafkaSettings) -> AIOKafkaAdminClient:
    """An admin client."""
    return AIOKafkaAdminClient(**connection(kafka))


async def start(client: Any, kafka: KafkaSettings) -> None:
    """Start a client; an address where nobody answers becomes a clear error."""
    try:
        await client.start()
    except (KafkaConnectionError, OSError) as error:
        raise BrokerUnreachableError(
            f"no broker answers at {kafka.bootstrap}", hint=ADDRESS_HINT
        ) from error
    except KafkaError as error:
        raise BrokerUnreachableError(
            f"the broker at {kafka.bootstrap} refused the connection: {error!r}",
            hint="check security protocol and credentials",
        ) from error
