"""Reading topics for people: the last records, one record, everything that comes."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from streams.errors import InputError

if TYPE_CHECKING:
    from aiokafka import AIOKafkaConsumer, TopicPartition

    from streams.settings import KafkaSettings

POLL_MS = 500
# Going back for the last records: transactions leave markers, which are no records, so the first
# guess may find too few. Each further try doubles the distance, down to the topic's beginning.
BACK_FACTOR = 2
FETCH_MAX = 1000
# For looking up here and there: a fetch at some topic's end must not hold up the next place for
# half a second, nor bring a megabyte for one record.
HERE_AND_THERE = {"fetch_max_wait_ms": 10, "max_partition_fetch_bytes": 128 * 1024}


@contextlib.asynccontextmanager
async def reading(kafka: KafkaSettings, **options: Any) -> AsyncIterator[AIOKafkaConsumer]:
    """A `read_committed` consumer without a group."""
    from streams import clients

    consumer = clients.consumer(kafka, **options)
    await clients.start(consumer, kafka)
    try:
        yield consumer
    finally:
        await consumer.stop()


async def partitions_of(consumer: AIOKafkaConsumer, topic: str) -> list[TopicPartition]:
    """All partitions of a topic. Raises InputError when there is no such topic."""
    from aiokafka import TopicPartition

    found = await consumer._client.fetch_all_metadata()
    numbers = found.partitions_for_topic(topic)
    if not numbers:
        raise InputError(f"topic {topic} does not exist", hint="`midgate topics list` shows all")
    return [TopicPartition(topic, number) for number in sorted(numbers)]


async def fetched(
    consumer: AIOKafkaConsumer, *places: TopicPartition, **limits: Any
) -> dict[TopicPartition, list[Any]]:
    """What comes next of these (none named: all) partitions, perhaps nothing.

    Where retention has taken what was to be read, however late, reading goes on at what is left:
    `consumer.position` tells, and who says what was found says that the rest has gone.
    """
    from aiokafka.errors import OffsetOutOfRangeError

    try:
        batches: dict[TopicPartition, list[Any]] = await consumer.getmany(
            *places, timeout_ms=POLL_MS, **limits
        )
        return batches
    except OffsetOutOfRangeError:
        asked = list(places or consumer.assignment())
        begins = await consumer.beginning_offsets(asked)
        ends = await consumer.end_offsets(asked)
        for place in asked:
            position = await consumer.position(place)
            if position > ends[place]:
                raise  # another topic of the same name
            if position < begins[place]:
                consumer.seek(place, begins[place])
        # Or it was said of a fetch from where the reader does not stand any more.
        return {}


async def last_records(consumer: AIOKafkaConsumer, topic: str, count: int) -> list[Any]:
    """The last `count` committed records of a topic, over all partitions, by timestamp.

    The consumer stands behind them afterwards, ready to follow.
    """
    partitions = await partitions_of(consumer, topic)
    consumer.assign(partitions)
    begins = await consumer.beginning_offsets(partitions)
    ends = await consumer.end_offsets(partitions)
    records: list[Any] = []
    for partition in partitions:
        distance = count + 10
        while True:
            start = max(begins[partition], ends[partition] - distance)
            found = await records_between(consumer, partition, start, ends[partition])
            if len(found) >= count or start == begins[partition]:
                break
            distance *= BACK_FACTOR
        records += found[-count:] if count else []
    records.sort(key=lambda record: (record.timestamp, record.partition, record.offset))
    return records[-count:] if count else []


async def records_between(
    consumer: AIOKafkaConsumer, partition: TopicPartition, start: int, end: int
) -> list[Any]:
    """Committed records of one partition with start ≤ offset < end, as far as they are left."""
    consumer.seek(partition, start)
    found: list[Any] = []
    while (position := await consumer.position(partition)) < end:
        most = min(FETCH_MAX, end - position)
        batches = await fetched(consumer, partition, max_records=most)
        found += [record for record in batches.get(partition, []) if record.offset < end]
    return found


async def one_record(kafka: KafkaSettings, topic: str, partition: int, offset: int) -> Any:
    """The record at one position. Raises InputError when there is none."""
    async with reading(kafka) as consumer:
        found = {tp.partition: tp for tp in await partitions_of(consumer, topic)}
        if partition not in found:
            raise InputError(f"{topic} has no partition {partition}", hint="PARTITION:OFFSET")
        place = found[partition]
        consumer.assign([place])
        begin = (await consumer.beginning_offsets([place]))[place]
        end = (await consumer.end_offsets([place]))[place]
        if begin <= offset < end:
            for record in await records_between(consumer, place, offset, offset + 1):
                return record
            begin = (await consumer.beginning_offsets([place]))[place]
        raise InputError(
            f"{topic} has no record at {partition}:{offset}",
            hint=f"partition {partition} holds offsets {begin} to {end - 1}",
        )


def position_of(text: str) -> tuple[int, int] | None:
    """`PARTITION:OFFSET` as numbers; None when the text is something else."""
    left, colon, right = text.partition(":")
    if colon and left.isdigit() and right.isdigit():
        return int(left), int(right)
    return None


def header_texts(record: Any) -> dict[str, str]:
    """A record's headers for people: text where it is text, else hex."""
    shown: dict[str, str] = {}
    for name, value in record.headers:
        raw = bytes(value or b"")
        printable = raw.isascii() and raw.decode("ascii").isprintable()
        shown[name] = raw.decode("ascii") if printable else raw.hex()
    return shown
