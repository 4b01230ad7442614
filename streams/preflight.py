"""What must be there before a worker starts.

Faust waits for ever, without a word, for a topic that does not exist; and a router without a
layout could only guess. So the worker looks first and says what is missing.
"""

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from streams import clients
from streams.ending import say_goodbye
from streams.errors import BrokerUnreachableError, ConfigurationError, EmptyLogError
from streams.settings import KafkaSettings, LayoutSettings

APPLY_HINT = "run `midgate topics apply` first"
STOP_S_MAX = 4.0


async def check_ground(kafka: KafkaSettings, layout: LayoutSettings) -> None:
    """Every system topic exists and the authorization log has a record 0.

    Raises ConfigurationError naming the missing topics, EmptyLogError, or
    BrokerUnreachableError. Nothing is created.
    """
    names = layout.topics
    # End of the log as written: an open transaction must not make it look empty.
    consumer = clients.consumer(kafka, isolation_level="read_uncommitted")
    try:
        await clients.start(consumer, kafka)
        there = await consumer.topics()
        needed = (names.raw, names.authorization, names.ledger, names.quarantine)
        missing = sorted(set(needed) - set(there))
        if missing:
            raise ConfigurationError(
                f"these topics do not exist at {kafka.bootstrap}: {', '.join(missing)}",
                hint=f"{APPLY_HINT}, or check MIDGATE_PREFIX",
            )
        await _check_log(consumer, names.authorization)
    except KafkaError as error:
        raise BrokerUnreachableError(
            f"the broker at {kafka.bootstrap} did not answer: {error!r}",
            hint="look at the broker's own log",
        ) from error
    finally:
        await say_goodbye(consumer.stop(), STOP_S_MAX)


async def _check_log(consumer: AIOKafkaConsumer, topic: str) -> None:
    log = TopicPartition(topic, 0)
    if (await consumer.end_offsets([log]))[log] == 0:
        raise EmptyLogError(f"the authorization log {topic} is empty", hint=APPLY_HINT)
