"""The small installation of the unit tests, written to a real broker by a plain producer.

Nothing but Kafka itself stands between its records and the judge.
"""

from collections.abc import Awaitable, Callable

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from auditor.contents import Contents, Topic
from tests.kafka_support import KafkaUnderTest
from tests.unit.auditor.world import clean

Write = Callable[[Contents], Awaitable[None]]
TIMEOUT_MS = 10_000


async def _write(producer: AIOKafkaProducer, topic: Topic) -> None:
    for record in topic.records():
        await producer.send_and_wait(
            topic.name,
            record.value,
            record.key,
            record.partition,
            record.timestamp,
            list(record.headers),
        )


async def _make(bootstrap: str, contents: Contents) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics(
            [
                NewTopic(
                    topic.name,
                    len(topic.partitions),
                    1,
                    topic_configs={"message.timestamp.type": "LogAppendTime"}
                    if topic is contents.log
                    else {"retention.ms": "-1"},
                )
                for topic in contents.all_topics()
                if topic.exists
            ],
            timeout_ms=TIMEOUT_MS,
        )
    finally:
        await admin.close()
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True)
    await producer.start()
    try:
        for topic in contents.all_topics():
            await _write(producer, topic)
    finally:
        await producer.stop()


@pytest_asyncio.fixture
async def installation(kafka: KafkaUnderTest, prefix: str) -> Contents:
    """The clean installation under a prefix of its own, written to the broker."""
    contents = clean(prefix)
    await _make(kafka.bootstrap, contents)
    return contents


@pytest.fixture
def write(kafka: KafkaUnderTest) -> Write:
    """Write an installation to the broker; it must have a prefix of its own."""

    async def written(contents: Contents) -> None:
        await _make(kafka.bootstrap, contents)

    return written
