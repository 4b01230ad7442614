"""A topic is deleted under a running producer: a bounded failure that names the topic.

aiokafka asks for ever: sending, aborting and stopping all hang, and nobody learns which topic.
"""

import asyncio

import pytest

from streams.settings import KafkaSettings
from streams.transactions import TransactionRefusedError
from tests.transaction_support import (
    TIMEOUT_MS,
    delete_topics,
    drop_plain,
    make_topics,
    open_producer,
    plain_producer,
    send_values,
    values,
)

pytestmark = [pytest.mark.broker, pytest.mark.fault]


async def test_the_failure_is_bounded_and_names_the_topic(
    kafka_settings: KafkaSettings, prefix: str
) -> None:
    kept, deleted = f"{prefix}.kept", f"{prefix}.deleted"
    await make_topics(kafka_settings, kept, deleted)
    producer = await open_producer(kafka_settings, prefix, kept, deleted)
    await producer.begin()
    for topic in (kept, deleted):
        await send_values(producer, topic, b"1")
    await producer.commit()
    await delete_topics(kafka_settings, deleted)

    async with asyncio.timeout(TIMEOUT_MS / 1000 + 2):
        await producer.begin()
        for topic in (kept, deleted):
            await send_values(producer, topic, b"2")
        with pytest.raises(TransactionRefusedError, match=deleted) as refused:
            await producer.commit()
        await producer.close()
    assert refused.value.topic == deleted

    producer = await open_producer(kafka_settings, prefix, kept)
    await producer.begin()
    await send_values(producer, kept, b"3")
    await producer.commit()
    await producer.close()
    assert await values(kafka_settings, kept) == [b"1", b"3"]


async def test_without_the_guard_everything_hangs(
    kafka_settings: KafkaSettings, prefix: str
) -> None:
    deleted = f"{prefix}.deleted"
    await make_topics(kafka_settings, deleted)
    producer = await plain_producer(kafka_settings, prefix)
    try:
        await producer.begin_transaction()
        await producer.send_and_wait(deleted, b"1")
        await producer.commit_transaction()
        await delete_topics(kafka_settings, deleted)
        await producer.begin_transaction()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(producer.send_and_wait(deleted, b"2"), 2)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(producer.abort_transaction(), 2)
    finally:
        await drop_plain(producer)
