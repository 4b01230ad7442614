"""A tenant topic refuses its batch (too large for it). Nothing of the transaction may count.

aiokafka's `commit_transaction` succeeds all the same: the source offset is committed and that
tenant's events are lost. Ours awaits every batch first.
"""

import pytest

from streams.settings import KafkaSettings
from streams.transactions import TransactionFailedError
from tests.transaction_support import (
    committed_offset,
    make_topics,
    offsets_of,
    open_producer,
    plain_producer,
    send_values,
    settle,
    values,
)

pytestmark = [pytest.mark.broker, pytest.mark.fault]

RECORDS = [b"x" * 200] * 50


@pytest.fixture
async def topics(kafka_settings: KafkaSettings, prefix: str) -> tuple[str, str, str]:
    raw, small, large = f"{prefix}.raw", f"{prefix}.small", f"{prefix}.large"
    await make_topics(kafka_settings, raw, large)
    await make_topics(kafka_settings, small, config={"max.message.bytes": "300"})
    return raw, small, large


async def test_a_refused_batch_means_no_commit(
    kafka_settings: KafkaSettings, prefix: str, topics: tuple[str, str, str]
) -> None:
    raw, small, large = topics
    producer = await open_producer(kafka_settings, prefix, *topics)
    await producer.begin()
    await producer.send_offsets(offsets_of(raw, 50), prefix)
    await send_values(producer, small, *[bytes(range(256)) * 4] * 50)
    await send_values(producer, large, *RECORDS)
    with pytest.raises(TransactionFailedError) as refused:
        await producer.commit()
    await producer.close()
    assert refused.value.topic == small
    await settle(kafka_settings, prefix)
    assert await committed_offset(kafka_settings, prefix, raw) == -1
    assert await values(kafka_settings, large) == []


async def test_without_the_guard_the_events_are_lost(
    kafka_settings: KafkaSettings, prefix: str, topics: tuple[str, str, str]
) -> None:
    raw, small, large = topics
    producer = await plain_producer(kafka_settings, prefix)
    await producer.begin_transaction()
    await producer.send_offsets_to_transaction(offsets_of(raw, 50), prefix)
    for topic in (small, large):
        batch = producer.create_batch()
        for record in RECORDS:
            batch.append(timestamp=None, key=b"k", value=record)
        await producer.send_batch(batch, topic, partition=0)
    await producer.commit_transaction()
    await producer.stop()
    assert await values(kafka_settings, small) == []
    assert await values(kafka_settings, large) == RECORDS
    assert await committed_offset(kafka_settings, prefix, raw) == 50
