"""Raw, or the labels, read into an index, by a consumer of its own outside any group.

In a process of its own, not in the worker: a lane and the indexer would share one interpreter, and
10 µs an event are the router's.

At least once, and idempotent by key: what a crash left out is read again from the position that
stands in the index.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from streams import clients
from streams.errors import BrokerUnreachableError, InputError
from streams.index_keys import BLOCK_OFFSETS
from streams.raw_fetcher import yield_raw_records
from streams.raw_index import RawIndex
from streams.raw_record import RawFields
from streams.settings import KafkaSettings
from streams.topics_client import TopicsAdmin

log = structlog.get_logger(__name__)

POLL_MS = 500
STEP_RECORDS_MAX = 4_000
HOUR_MS = 3_600_000
# A block holds minutes; looking more often would find nothing to forget.
FORGET_EVERY_S = 300.0


Keys = Callable[[Iterable[RawFields]], Iterable[bytes]]


class RawIndexer:
    """Keeps the index of one topic: `open`, then `step` for ever; `close`.

    `keys` are those of records; `hours` None: all that the topic holds is kept.
    """

    def __init__(
        self, kafka: KafkaSettings, topic: str, folder: Path, hours: int | None, keys: Keys
    ) -> None:
        self._kafka = kafka
        self._topic = topic
        self._folder = folder
        self._kept_ms = None if hours is None else hours * HOUR_MS
        self._keys = keys
        self._consumer: AIOKafkaConsumer | None = None
        self._index: RawIndex | None = None
        self._places: list[TopicPartition] = []
        self._forgot_at = 0.0

    async def open(self) -> None:
        """Connect, open the index, and set out where it ends.

        Raises ConfigurationError (no topic, another indexer, no folder), BrokerUnreachableError,
        RawIndexError.
        """
        admin = TopicsAdmin(self._kafka)
        identity = await asyncio.to_thread(admin.identity, self._topic)
        described = (await asyncio.to_thread(admin.cluster)).topics[self._topic]
        self._places = [TopicPartition(self._topic, one) for one in sorted(described.partitions)]
        consumer = clients.consumer(self._kafka, max_poll_records=STEP_RECORDS_MAX)
        try:
            await clients.start(consumer, self._kafka)
            self._consumer = consumer
            yield_raw_records(consumer)
            consumer.assign(self._places)
            begins = await consumer.beginning_offsets(self._places)
            ends = await consumer.end_offsets(self._places)
            firsts = dict(begins)
            if self._kept_ms is not None:
                since_ms = int(time.time() * 1000) - self._kept_ms
                firsts = await self._offsets_at(since_ms, ends)
        except KafkaError as error:
            await self.close()
            raise self._unreadable(error) from error
        index = self._index = RawIndex.open(self._folder, identity)
        index.begin({number: max(begins[place], firsts[place]) for number, place in self._by()})
        for number, place in self._by():
            position = index.spans[number].position
            if position > ends[place]:
                self._index = None
                index.close()
                await self.close()
                raise InputError(
                    f"the index {self._folder} lies ahead of {self._topic}-{number}",
                    hint="raw was restored from a backup: remove the folder, it is built anew",
                )
            consumer.seek(place, max(position, begins[place]))

    def _by(self) -> list[tuple[int, TopicPartition]]:
        return [(place.partition, place) for place in self._places]

    async def step(self) -> int:
        """Take in what has come, waiting a little for it; how many records that was."""
        consumer, index = self._opened()
        try:
            fetched = await consumer.getmany(timeout_ms=POLL_MS, max_records=STEP_RECORDS_MAX)
            positions = {number: await consumer.position(place) for number, place in self._by()}
        except KafkaError as error:
            raise self._unreadable(error) from error
        records = [record for batch in fetched.values() for record in batch]
        if any(position > index.spans[number].position for number, position in positions.items()):
            await asyncio.to_thread(index.add, self._keys(records), positions)
        is_due = time.monotonic() - self._forgot_at > FORGET_EVERY_S
        if self._kept_ms is not None and is_due:
            await self.forget(int(time.time() * 1000) - self._kept_ms)
        return len(records)

    async def forget(self, before_ms: int) -> None:
        """Drop blocks of what was received before an instant."""
        consumer, index = self._opened()
        self._forgot_at = time.monotonic()
        try:
            ends = await consumer.end_offsets(self._places)
            firsts = await self._offsets_at(before_ms, ends)
        except KafkaError as error:
            raise self._unreadable(error) from error
        due = {
            number: firsts[place] // BLOCK_OFFSETS * BLOCK_OFFSETS for number, place in self._by()
        }
        if await asyncio.to_thread(index.drop_below, due):
            log.info("raw_index_forgot", before=before_ms)

    async def catch_up(
        self, on_progress: Callable[[int, int], None], is_told_to_stop: Callable[[], bool]
    ) -> int:
        """Read to the end as it is now, or until told; how many records were taken in."""
        consumer, index = self._opened()
        ends = await consumer.end_offsets(self._places)
        began = sum(span.position for span in index.spans.values())
        total = sum(ends.values()) - began
        taken = 0
        while not is_told_to_stop() and any(
            index.spans[number].position < ends[place] for number, place in self._by()
        ):
            taken += await self.step()
            done = sum(span.position for span in index.spans.values()) - began
            on_progress(min(done, total), total)
        return taken

    async def lag(self) -> int:
        """Offsets that are not in the index yet."""
        consumer, index = self._opened()
        ends = await consumer.end_offsets(self._places)
        return sum(
            max(0, ends[place] - index.spans[number].position) for number, place in self._by()
        )

    async def close(self) -> None:
        """Disconnect and give the index back."""
        consumer, self._consumer = self._consumer, None
        index, self._index = self._index, None
        if index is not None:
            index.close()
        if consumer is not None:
            await consumer.stop()

    async def _offsets_at(
        self, instant_ms: int, ends: dict[TopicPartition, int]
    ) -> dict[TopicPartition, int]:
        """For each partition the first offset received at or after an instant."""
        consumer = self._consumer
        assert consumer is not None, "opened before use"
        found = await consumer.offsets_for_times(dict.fromkeys(self._places, max(0, instant_ms)))
        return {
            place: ends[place] if found[place] is None else found[place].offset
            for place in self._places
        }

    def _opened(self) -> tuple[AIOKafkaConsumer, RawIndex]:
        assert self._consumer is not None, "opened before use"
        assert self._index is not None, "opened before use"
        return self._consumer, self._index

    def _unreadable(self, error: KafkaError) -> BrokerUnreachableError:
        return BrokerUnreachableError(
            f"{self._topic} cannot be read: {error!r}",
            hint="see whether the brokers are healthy, and who may read the topic",
        )
