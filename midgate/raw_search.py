"""Raw records of a number or an event id: by the index where there is one, else by reading raw."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from midgate.batch_search import hints
from midgate.reading import fetched, partitions_of
from streams.instants import format_instant

if TYPE_CHECKING:
    from aiokafka import AIOKafkaConsumer, TopicPartition

    from streams.index_keys import Term
    from streams.raw_index import Span
    from streams.raw_record import RawRecord
    from streams.settings import Settings

# A piece has 10 to 13 scans. A number with more than this is somebody's test.
MATCHES_MAX = 500
# What is read without being asked to.
UNASKED_S_MAX = 15
# What reading raw through the match gives on one core; used to say beforehand how long it takes.
# A number's digits are looked for in whole batches; an event id is a hash, so every record is read.
RECORDS_PER_S_NUMBER = 1_000_000
RECORDS_PER_S_EVENT = 60_000
STEP_RECORDS_MAX = 10_000
# A fetch at a partition's end must not hold up the next place.
FETCH_WAIT_MS = 10

OnProgress = Callable[[int, int], None]


@dataclass(slots=True)
class Search:
    """What was found, and what was looked at. `complete` false: there may be more."""

    records: list[RawRecord] = field(default_factory=list)
    how: str = "scan"
    scanned: int = 0
    complete: bool = True
    since: str = ""
    recorded_from: str = ""
    note: str = ""

    def as_record(self) -> dict[str, Any]:
        """For JSON and for people."""
        return {
            "how": self.how,
            "found": len(self.records),
            "scanned": self.scanned,
            "complete": self.complete,
            "since": self.since,
            "recorded_from": self.recorded_from,
            "note": self.note,
        }


async def search(
    effective: Settings, term: Term, since_ms: int | None, on_progress: OnProgress
) -> Search:
    """Every raw record of the term received since an instant, as far as it is recorded.

    Without `since_ms`: what the index holds; without an index the last `index_hours`, if that takes
    no longer than `UNASKED_S_MAX`.
    """
    from midgate.commands.index import index_folder
    from streams import clients
    from streams.raw_fetcher import yield_raw_records
    from streams.raw_index import RawIndex
    from streams.topics_client import TopicsAdmin

    topic = effective.layout.topics.raw
    identity = await asyncio.to_thread(TopicsAdmin(effective.kafka).identity, topic)
    consumer = clients.consumer(
        effective.kafka, max_poll_records=STEP_RECORDS_MAX, fetch_max_wait_ms=FETCH_WAIT_MS
    )
    await clients.start(consumer, effective.kafka)
    try:
        yield_raw_records(consumer)
        with RawIndex.reading(index_folder(effective, topic), identity) as index:
            candidates = [] if index is None else await asyncio.to_thread(index.find, term)
            spans = {} if index is None else dict(index.spans)
        return await _Reader(effective, consumer, term, spans).run(
            candidates, since_ms, on_progress
        )
    finally:
        await consumer.stop()


class _Reader:
    """One search over one consumer."""

    def __init__(
        self, effective: Settings, consumer: AIOKafkaConsumer, term: Term, spans: dict[int, Span]
    ) -> None:
        self._effective = effective
        self._consumer = consumer
        self._term = term
        self._spans = spans
        self._search = Search()

    async def run(
        self, candidates: list[tuple[int, int]], since_ms: int | None, on_progress: OnProgress
    ) -> Search:
        consumer, search = self._consumer, self._search
        places = await partitions_of(consumer, self._effective.layout.topics.raw)
        consumer.assign(places)
        begins = await consumer.beginning_offsets(places)
        ends = await consumer.end_offsets(places)
        indexed = bool(self._spans) and all(place.partition in self._spans for place in places)
        search.how = "index" if indexed else "scan"
        hours_ms = self._effective.index.index_hours * 3_600_000
        from_ms = int(time.time() * 1000) - hours_ms if since_ms is None else since_ms
        search.since = format_instant(from_ms)
        starts = await self._starts(places, ends, from_ms)
        gaps: list[tuple[TopicPartition, int, int]] = []
        for place in places:
            span = self._spans.get(place.partition) if indexed else None
            if span is None:
                gaps.append((place, starts[place], ends[place]))
                continue
            if since_ms is not None and starts[place] < span.first:
                gaps.append((place, starts[place], min(span.first, ends[place])))
            gaps.append((place, max(span.position, starts[place]), ends[place]))
        to_scan = sum(end - start for _, start, end in gaps if end > start)
        seconds = to_scan / (RECORDS_PER_S_NUMBER if self._term.number else RECORDS_PER_S_EVENT)
        if since_ms is None and seconds > UNASKED_S_MAX:
            search.complete = False
            search.note = (
                f"not looked through: {to_scan:,} records of raw, some {seconds:,.0f} s;"
                " `midgate index` keeps an index, or say --since"
            )
            gaps = []
        for partition, offset in candidates:
            if since_ms is None or offset >= starts[places[partition]]:
                await self._candidate(places[partition], offset, begins[places[partition]])
        done = 0
        for place, start, end in gaps:
            done = await self._scan(place, start, end, lambda n: on_progress(n, to_scan), done)
        search.scanned = done
        # Last, as retention may have come by while raw was read.
        search.recorded_from = await self._recorded_from(places)
        search.records.sort(key=lambda one: (one.timestamp, one.partition, one.offset))
        if len(search.records) >= MATCHES_MAX:
            search.complete = False
            search.note = f"only the first {MATCHES_MAX} are told"
        return search

    async def _recorded_from(self, places: list[TopicPartition]) -> str:
        """The instant before which raw holds nothing any more; empty while nothing has gone."""
        begins = await self._consumer.beginning_offsets(places)
        if not any(begins.values()):
            return ""
        oldest = await self._consumer.offsets_for_times(dict.fromkeys(places, 0))
        known = [one.timestamp for place, one in oldest.items() if one and begins[place]]
        return format_instant(max(known)) if known else format_instant(int(time.time() * 1000))

    async def _starts(
        self, places: list[TopicPartition], ends: dict[TopicPartition, int], from_ms: int
    ) -> dict[TopicPartition, int]:
        found = await self._consumer.offsets_for_times(dict.fromkeys(places, max(0, from_ms)))
        return {
            place: ends[place] if found[place] is None else found[place].offset for place in places
        }

    async def _candidate(self, place: TopicPartition, offset: int, begin: int) -> None:
        """Read one record that the index names; its hash may be another number's."""
        if offset < begin or len(self._search.records) >= MATCHES_MAX:
            return
        self._consumer.assign([place])
        self._consumer.seek(place, offset)
        deadline = time.monotonic() + self._effective.kafka.request_timeout_ms / 1000
        # Behind it nothing more is waited for: it may be of an aborted transaction, at the end.
        while await self._consumer.position(place) <= offset and time.monotonic() < deadline:
            batches = await fetched(self._consumer, place, max_records=1)
            for record in batches.get(place, []):
                if record.offset == offset and self._term.matches(record):
                    self._search.records.append(record)
                return

    async def _scan(
        self, place: TopicPartition, start: int, end: int, report: Callable[[int], None], done: int
    ) -> int:
        """Read a stretch of one partition; `done` and what it is afterwards count offsets."""
        if start >= end:
            return done
        if self._term.number:
            await self._scan_for_number(place, start, end, lambda at: report(done + at - start))
            return done + end - start
        self._consumer.assign([place])
        self._consumer.seek(place, start)
        position = start
        while position < end and len(self._search.records) < MATCHES_MAX:
            batches = await fetched(self._consumer, place)
            for record in batches.get(place, []):
                if (
                    record.offset < end
                    and self._term.may_match(record)
                    and self._term.matches(record)
                ):
                    self._search.records.append(record)
            position = await self._consumer.position(place)
            report(done + min(position, end) - start)
        return done + end - start

    async def _scan_for_number(
        self, place: TopicPartition, start: int, end: int, report: Callable[[int], None]
    ) -> None:
        """As `_scan`: whatever is of a number holds its digits as they are."""
        async for offset in hints(self._consumer, place, start, end, self._term.number, report):
            await self._candidate(place, offset, start)
            if len(self._search.records) >= MATCHES_MAX:
                return
