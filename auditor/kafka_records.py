"""[shell] Records read from Kafka when the judge asks for them, with a plain consumer of its own.

The judge is plain code in a thread; the client lives in an event loop. A piece is asked for
across, while the client already fetches the next.

Bound: `FETCHED_BYTES_MAX` of compressed batches and `PIECES_RECORDS_MAX` records in pieces, divided
by the partitions that are read.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer.fetcher import FetchResult
from aiokafka.errors import OffsetOutOfRangeError

from auditor.contents import Contents, Partition, Record, Topic

# Without a record or any other progress for so long, reading has failed.
STALL_S_MAX = 60.0
POLL_MS = 500
# A partition is not fetched further than its end, so a fetch seldom has to wait for data.
FETCH_WAIT_MS = 50
FETCHED_BYTES_MAX = 64 << 20
PARTITION_BYTES_MIN, PARTITION_BYTES_MAX = 1 << 15, 1 << 20
PIECES_RECORDS_MAX = 50_000
PIECE_RECORDS_MIN, PIECE_RECORDS_MAX = 50, 2_000
APPEND_TIME = 1
# A named tuple's own constructor takes twice as long.
_new = tuple.__new__


class CollectError(Exception):
    """The topics could not be read whole; the message says which and why."""


class AbsentError(CollectError):
    """There is no such topic or tenant."""


class _Fetched(OrderedDict[TopicPartition, Any]):
    """What one consumer's fetcher has fetched, made to hand out plain records.

    aiokafka builds an object of eleven fields of each record, which takes as long as to judge it.
    Bound to our consumer, not patched into the library.
    """

    def __setitem__(self, place: TopicPartition, result: Any) -> None:
        if isinstance(result, FetchResult):
            result._partition_records._consumer_record = _record
        super().__setitem__(place, result)


def _record(place: TopicPartition, found: Any) -> Record:
    return _new(
        Record,
        (
            place.partition,
            found.offset,
            found.timestamp,
            found.key,
            found.value,
            tuple(found.headers),
            found.timestamp_type == APPEND_TIME,
        ),
    )


@dataclass(slots=True)
class Reading:
    """One consumer that reads all partitions of an audit, each from wherever it is asked to."""

    consumer: AIOKafkaConsumer
    loop: asyncio.AbstractEventLoop
    piece_records: int
    closed: bool = False
    _positions: dict[TopicPartition, int] = field(default_factory=dict)

    def prepare(self, place: TopicPartition, partition: Partition) -> None:
        """Let the client fetch what will be asked for first, before it is asked for."""
        start = max(partition.start, partition.begin)
        if start >= partition.end:
            self.consumer.pause(place)
            return
        self.consumer.seek(place, start)
        self._positions[place] = start

    def fetch(
        self, place: TopicPartition, partition: Partition, start: int
    ) -> tuple[list[Record], int]:
        """From a judge's thread: the next records from `start` on, and where to go on.

        Empty, with a position at the partition's end or behind, when there are no more. Raises
        CollectError.
        """
        if self.closed:
            raise CollectError("reading was ended")
        work = self._fetch(place, partition, start)
        return asyncio.run_coroutine_threadsafe(work, self.loop).result()

    async def _fetch(
        self, place: TopicPartition, partition: Partition, start: int
    ) -> tuple[list[Record], int]:
        end = partition.end
        if self._positions.get(place) != start:
            self.consumer.seek(place, start)
            self.consumer.resume(place)
        position = start
        records: list[Record] = []
        deadline = self.loop.time() + STALL_S_MAX
        while not records and position < end:
            batches = await self.consumer.getmany(
                place, timeout_ms=POLL_MS, max_records=self.piece_records
            )
            # The position passes control records, which are never handed out.
            before, position = position, await self.consumer.position(place)
            records = batches.get(place, [])
            if records and records[-1].offset >= end:
                records = [record for record in records if record.offset < end]
            if position > before:
                deadline = self.loop.time() + STALL_S_MAX
            elif self.closed or self.loop.time() > deadline:
                raise CollectError(f"{place.topic} {place.partition} could not be read further "
                                   f"than offset {position} of {end}")  # fmt: skip
        self._positions[place] = position
        if position >= end:
            self.consumer.pause(place)
        return records, position

    def new_begin(self, place: TopicPartition) -> int:
        """From a judge's thread: where a partition begins now."""
        work = self.consumer.beginning_offsets([place])
        begin: int = asyncio.run_coroutine_threadsafe(work, self.loop).result()[place]
        return begin


@dataclass(slots=True)
class KafkaRecords:
    """The records of one partition (`auditor.contents.Unread`)."""

    reading: Reading
    place: TopicPartition
    partition: Partition

    def pieces(self, start: int) -> Iterator[list[Record]]:
        """Read on from `start` as the pieces are asked for.

        What retention takes before the first piece moves the partition's beginning. Raises
        CollectError when it overtakes the reading later, or reading fails.
        """
        position, moved = start, False
        while position < self.partition.end:
            try:
                records, position = self.reading.fetch(self.place, self.partition, position)
            except OffsetOutOfRangeError as error:
                begin = self.reading.new_begin(self.place)
                if position != start or begin <= position or moved:
                    raise CollectError(
                        f"retention took {self.place.topic} {self.place.partition} from offset "
                        f"{position} on while it was read; ask for less by --since"
                    ) from error
                moved = True
                self.partition.begin = max(self.partition.begin, begin)
                position = begin
                continue
            if records:
                yield records


@asynccontextmanager
async def reading(kafka_options: dict[str, Any], contents: Contents) -> AsyncIterator[None]:
    """Give every partition of `contents` its records, for as long as the context lasts."""
    parts = [
        (TopicPartition(topic.name, number), partition)
        for topic in contents.all_topics()
        for number, partition in topic.partitions.items()
    ]
    share = FETCHED_BYTES_MAX // max(len(parts), 1)
    consumer = AIOKafkaConsumer(
        **kafka_options,
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="none",
        fetch_max_wait_ms=FETCH_WAIT_MS,
        max_partition_fetch_bytes=min(max(share, PARTITION_BYTES_MIN), PARTITION_BYTES_MAX),
    )
    await consumer.start()
    consumer._fetcher._records = _Fetched()
    await know_topics(consumer, [topic.name for topic in contents.all_topics() if topic.partitions])
    piece = PIECES_RECORDS_MAX // max(len(parts), 1)
    client = Reading(
        consumer,
        asyncio.get_running_loop(),
        min(max(piece, PIECE_RECORDS_MIN), PIECE_RECORDS_MAX),
    )
    try:
        places = [place for place, _ in parts]
        consumer.assign(places)
        for place, partition in parts:
            client.prepare(place, partition)
            partition.records = KafkaRecords(client, place, partition)
        yield
    finally:
        client.closed = True
        await consumer.stop()
        for _, partition in parts:
            partition.records = []


async def know_topics(consumer: AIOKafkaConsumer, names: Iterable[str]) -> None:
    """Learn where all these topics are at once.

    Left to itself, the client asks about one unknown topic after the other, 100 ms for each.
    """
    await consumer._client.set_topics([name for name in names if name])


def only(topic: Topic) -> Contents:
    """A single topic, to be read by itself."""
    none = Topic("", exists=False)
    return Contents("", "", topic, none, none, none)
