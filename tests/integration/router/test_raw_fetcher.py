"""Raw records are what aiokafka's own consumer sees, but for the form."""

import asyncio
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from streams import clients
from streams.raw_fetcher import yield_raw_records
from streams.raw_record import RawRecord
from streams.settings import KafkaSettings
from tests.records_support import one_batch
from tests.transaction_support import make_topics, offsets_of, open_producer, settle, settled

# Few at a time, so that the reading of a fetch is broken off in its middle.
RECORDS_MAX = 7


async def read(kafka: KafkaSettings, topic: str, count: int, *, raw: bool) -> list[Any]:
    consumer: AIOKafkaConsumer = clients.consumer(kafka, isolation_level="read_committed")
    await clients.start(consumer, kafka)
    try:
        if raw:
            yield_raw_records(consumer)
        place = TopicPartition(topic, 0)
        consumer.assign([place])
        consumer.seek(place, 1)
        found: list[Any] = []
        async with asyncio.timeout(30):
            while len(found) < count:
                batches = await consumer.getmany(place, timeout_ms=200, max_records=RECORDS_MAX)
                for records in batches.values():
                    assert len(records) <= RECORDS_MAX
                    found += records
                if found:
                    assert await consumer.position(place) > found[-1].offset
        return found
    finally:
        await consumer.stop()


async def test_both_forms_hold_the_same(kafka_settings: KafkaSettings, prefix: str) -> None:
    """Over compressed batches, an aborted transaction, markers, nulls, and from a position on."""
    raw, topic = f"{prefix}.raw", f"{prefix}.topic"
    await make_topics(kafka_settings, raw, topic)
    for turn in range(3):
        producer = await open_producer(kafka_settings, prefix, raw, topic)
        await producer.begin()
        await producer.send_offsets(offsets_of(raw, turn + 1), prefix)
        payloads = [b"%d-%d" % (turn, number) * 20 for number in range(20)]
        batch = one_batch(*payloads, None, headers=[("x", b"1"), ("", None)])
        await (await producer.send_batch(batch, topic, 0))
        if turn == 1:
            await producer.close()
            await settle(kafka_settings, prefix)
        else:
            await producer.commit()
            await producer.close()
    await settled(kafka_settings, topic)
    count = 2 * 21 - 1
    plain = await read(kafka_settings, topic, count, raw=False)
    light = await read(kafka_settings, topic, count, raw=True)
    assert len(plain) == len(light) == count
    assert [RawRecord(*record) for record in light] == [
        RawRecord(one.partition, one.offset, one.timestamp, one.key, one.value, list(one.headers))
        for one in plain
    ]
    assert all(type(record) is RawRecord for record in light)
