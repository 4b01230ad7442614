"""Raw events in, tenant topics out: what tests of the router share."""

import time
from collections.abc import Iterable

from aiokafka import TopicPartition
from aiokafka.structs import ConsumerRecord, OffsetAndMetadata

from schemas.codec import encode
from streams import clients
from streams.acknowledgement import Acknowledgement, decode_acknowledgement
from streams.lanes import LaneLayout
from streams.settings import KafkaSettings, LayoutSettings
from tests.bench.workload import check_digit

Event = tuple[bytes, bytes]
"""Key and value of a raw record."""


def barcode(mid: str, serial: int) -> str:
    """A valid 26-digit number of a nine-digit MID."""
    body = b"92748%s%011d" % (mid.encode(), serial)
    return (body + check_digit(body)).decode()


def event(number: str, *, code: str = "10", recipient: str | None = None) -> Event:
    """A raw record for this number, by the Scan Event Extract."""
    value = encode(
        "tracking_event",
        {
            "barcode": number,
            "event_code": code,
            "event_time": 1_785_000_000_000,
            "time_basis": "UTC",
            "facility_zip": "90009",
            "channel": "SEE",
            "restricted": {"recipient_name": recipient} if recipient else None,
        },
    )
    return number.encode(), value


async def offer(kafka: KafkaSettings, topic: str, events: Iterable[Event]) -> None:
    """Append raw events; the key chooses the partition, as for every producer from outside."""
    producer = clients.idempotent_producer(kafka)
    await clients.start(producer, kafka)
    try:
        for key, value in events:
            await producer.send(topic, key=key, value=value, timestamp_ms=int(time.time() * 1000))
    finally:
        await producer.stop()


async def placed(kafka: KafkaSettings, topic: str) -> list[ConsumerRecord]:
    """Everything a `read_committed` reader sees in the topic, partition by partition."""
    return (await placed_in(kafka, [topic]))[topic]


async def placed_in(kafka: KafkaSettings, topics: Iterable[str]) -> dict[str, list[ConsumerRecord]]:
    """The same of several topics, by one reader."""
    names = list(topics)
    consumer = clients.consumer(kafka)
    await clients.start(consumer, kafka)
    try:
        await consumer._client.set_topics(names)
        parts = [
            TopicPartition(topic, number)
            for topic in names
            for number in sorted(consumer.partitions_for_topic(topic) or set())
        ]
        consumer.assign(parts)
        await consumer.seek_to_beginning(*parts)
        ends = await consumer.end_offsets(parts)
        records: dict[TopicPartition, list[ConsumerRecord]] = {part: [] for part in parts}
        until = time.monotonic() + 20
        while any([await consumer.position(part) < ends[part] for part in parts]):
            assert time.monotonic() < until, f"{names} cannot be read to their end"
            for part, batch in (await consumer.getmany(timeout_ms=200)).items():
                records[part] += batch
    finally:
        await consumer.stop()
    found: dict[str, list[ConsumerRecord]] = {topic: [] for topic in names}
    for part in parts:
        found[part.topic] += records[part]
    return found


async def committed(
    kafka: KafkaSettings, layout: LayoutSettings
) -> dict[TopicPartition, OffsetAndMetadata]:
    """Committed offsets of the router's group: raw partitions and acknowledgement keys."""
    parts = [TopicPartition(layout.topics.raw, n) for n in range(layout.partitions)]
    parts += [TopicPartition(layout.topics.ledger, lane) for lane in range(layout.lanes)]
    admin = clients.admin(kafka)
    await admin.start()
    try:
        found = await admin.list_consumer_group_offsets(layout.router_group, partitions=parts)
        return {part: found[part] for part in parts if part in found}
    finally:
        await admin.close()


async def acknowledged(
    kafka: KafkaSettings, layout: LayoutSettings
) -> dict[int, Acknowledgement | None]:
    """What each lane acknowledged last; None where it is only a start, or nothing."""
    offsets = await committed(kafka, layout)
    said: dict[int, Acknowledgement | None] = {}
    for lane in range(layout.lanes):
        found = offsets.get(TopicPartition(layout.topics.ledger, lane))
        ack = decode_acknowledgement(found.metadata) if found is not None else None
        said[lane] = ack if isinstance(ack, Acknowledgement) else None
    return said


async def backlog(kafka: KafkaSettings, layout: LayoutSettings) -> int:
    """Raw records not committed by the router's group yet."""
    raw = layout.topics.raw
    parts = [TopicPartition(raw, number) for number in range(layout.partitions)]
    consumer = clients.consumer(kafka)
    await clients.start(consumer, kafka)
    try:
        ends = await consumer.end_offsets(parts)
    finally:
        await consumer.stop()
    offsets = await committed(kafka, layout)
    return sum(ends[part] - max(0, offsets[part].offset) for part in parts)


def lane_layout(layout: LayoutSettings) -> LaneLayout:
    """The lanes of an installation."""
    return LaneLayout(layout.app_id, layout.lanes, layout.partitions)
