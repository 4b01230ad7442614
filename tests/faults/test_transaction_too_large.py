"""130 MB put out by one transaction: refused before it is sent, as no broker would take it.

One produce request takes a batch of every partition. Past 100 MB the broker closes the connection
without a word, and aiokafka sends the same request again, for ever.
"""

import asyncio
import os
from typing import Any

import pytest
from aiokafka.protocol.produce import ProduceRequest

from streams.settings import KafkaSettings
from streams.transactions import TRANSACTION_BYTES_MAX, TransactionTooLargeError
from tests.transaction_support import (
    drop_plain,
    eventually,
    make_topics,
    open_producer,
    plain_producer,
    send_values,
    values,
)

pytestmark = [pytest.mark.broker, pytest.mark.fault]

PARTITIONS = 130
PAYLOAD_BYTES = 999_000


async def test_a_transaction_is_bounded(kafka_settings: KafkaSettings, prefix: str) -> None:
    tenant, payload = f"{prefix}.tenant", os.urandom(PAYLOAD_BYTES)
    await make_topics(kafka_settings, tenant, partitions=PARTITIONS)
    producer = await open_producer(kafka_settings, prefix, tenant)
    await producer.begin()
    fitting = TRANSACTION_BYTES_MAX // PAYLOAD_BYTES
    assert fitting < PARTITIONS
    for partition in range(fitting):
        await send_values(producer, tenant, payload, partition=partition)
    with pytest.raises(TransactionTooLargeError):
        await send_values(producer, tenant, payload, partition=fitting)
    await producer.close()
    # The next start takes less, and goes on.
    producer = await open_producer(kafka_settings, prefix, tenant)
    await producer.begin()
    await send_values(producer, tenant, payload)
    await producer.commit()
    await producer.close()
    assert await values(kafka_settings, tenant) == [payload]


async def test_without_the_guard_it_is_sent_for_ever(
    kafka_settings: KafkaSettings, prefix: str
) -> None:
    tenant, payload = f"{prefix}.tenant", os.urandom(PAYLOAD_BYTES)
    await make_topics(kafka_settings, tenant, partitions=PARTITIONS)
    # The connection's end is not always noticed; the request's time-out is. It is the same then.
    impatient = kafka_settings.model_copy(update={"request_timeout_ms": 3_000})
    producer = await plain_producer(impatient, prefix)
    send, sent = producer.client.send, []

    async def count(node_id: int, request: Any, **options: Any) -> Any:
        if isinstance(request, ProduceRequest):
            sent.append(request)
        return await send(node_id, request, **options)

    producer.client.send = count
    try:
        await producer.begin_transaction()
        for partition in range(PARTITIONS):
            batch = producer.create_batch()
            batch.append(timestamp=None, key=b"k", value=payload)
            await producer.send_batch(batch, tenant, partition=partition)
        commit = asyncio.create_task(producer.commit_transaction())

        async def sent_again() -> bool:
            return len(sent) > 1

        await eventually(sent_again, "the same request is sent again")
        assert not commit.done()
        commit.cancel()
    finally:
        await drop_plain(producer)
