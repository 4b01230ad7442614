"""One raw partition's past, decision by decision: rights, labels and events as they were then.

The ledger leads: each entry says under which version, at which instant and on which labels its
events were decided, those that had waited first. The authorization log and the labels are replayed
along with it, and go forward only.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from midgate.breach_judging import Judge, Seen, Then, read
from midgate.reading import fetched
from streams.corrected_past import finding_at
from streams.label_lookup import LabelLookup, by_partition
from streams.rights import Rights

if TYPE_CHECKING:
    from aiokafka import AIOKafkaConsumer, TopicPartition

    from midgate.label_replay import LabelReplay
    from midgate.ledger_reading import Ledger, LedgerLine
    from streams.facts import Correction, Grant

# A ledger entry is written at most a transaction's length after it was decided.
LEDGER_SLACK_MS = 60_000
STEP_RECORDS_MAX = 10_000
# Nearer than this, records in between are read rather than passed over by a seek.
NEAR_OFFSETS = 2_000

LogRecord = tuple[int, int, bytes | None]


class Consumers(NamedTuple):
    """One for each course through a topic; `held` goes back for events that waited."""

    raw: AIOKafkaConsumer
    ledger: AIOKafkaConsumer
    labels: AIOKafkaConsumer
    held: AIOKafkaConsumer


class Findings(NamedTuple):
    """About one grant, and what all of them cover: instants, `end_ms` exclusive."""

    grant: Grant
    corrections: Sequence[Correction]
    start_ms: int
    end_ms: int

    def at(self, now_ms: int) -> Correction | None:
        """The one that covers an instant."""
        return finding_at(self.corrections, now_ms) if now_ms < self.end_ms else None


class PartitionReplay:
    """Replays one partition into a judge: `run`, once."""

    def __init__(
        self,
        consumers: Consumers,
        ledger: Ledger,
        labels: LabelReplay,
        judge: Judge,
        findings: Findings,
    ) -> None:
        self._raw, self._held = consumers.raw, consumers.held
        self._ledger = ledger
        self._labels = labels
        self._judge = judge
        self._findings = findings
        self._recorded_from = findings.start_ms
        self._begin = self._end = self._first_raw = 0
        self._is_shrinking = False
        self._read = 0
        self._report_read: Callable[[int], None]

    async def run(
        self,
        place: TopicPartition,
        bounds: tuple[int, int],
        log: Sequence[LogRecord],
        report_read: Callable[[int], None],
    ) -> int:
        """Judge what the findings cover; the instant from which all of it is recorded.

        `report_read` is told how many records of raw and of labels have been read.
        """
        begin, self._end = bounds
        self._begin = begin
        self._report_read = report_read
        await self._ledger.open()
        self._lose_before(await self._oldest(begin))
        rights = Rights()
        replayed = iter(log)
        waiting = next(replayed, None)
        async for line in self._lines(await self._start()):
            entry = line.entry
            decided_at = entry["decided_at"]
            if decided_at >= self._findings.end_ms and not self._judge.is_open:
                break
            finding = self._findings.at(decided_at)
            if finding is None and not self._judge.has_tokens:
                continue
            while waiting is not None and waiting[0] < entry["version"]:
                rights.apply(*waiting)
                waiting = next(replayed, None)
            position = entry["label_position"]
            then = Then(
                rights.snapshot(0.0),
                _mids(self._findings.grant, rights),
                decided_at,
                entry["version"],
                position >= 0,
                finding,
            )
            await self._anew(place, entry, then)
            self._judge.give_up(entry.get("given_up", ()))
            await self._span(place, entry, then)
            self._read = max(0, min(self._end, entry["raw_next"]) - begin)
            self._report()
        self._judge.close()
        return self._recorded_from

    def _report(self) -> None:
        self._report_read(self._read + self._labels.position)

    async def _oldest(self, raw_begin: int) -> int:
        """The instant of the oldest decision of which both event and entry are there; 0: all."""
        first = await self._ledger.first()
        oldest = await self._ledger.covering(raw_begin, 0) if raw_begin else None
        if (raw_begin or self._ledger.begin) and first is None:
            return self._findings.end_ms
        known = [0]
        if self._ledger.begin and first is not None:
            known.append(first.entry["decided_at"])
        if oldest is not None:
            known.append(oldest.entry["decided_at"])
        return max(known)

    def _lose_before(self, instant_ms: int) -> None:
        """Something decided before an instant is not recorded any more."""
        self._recorded_from = max(self._recorded_from, min(instant_ms, self._findings.end_ms))

    async def _start(self) -> int:
        """Where in the ledger to begin: at the window, or where a wait that ended in it began.

        Only rights by a token need the latter: what the first decision left open for the tenant.
        """
        start = await self._ledger.from_instant(self._findings.start_ms - LEDGER_SLACK_MS)
        if not self._judge.has_tokens:
            return start
        first_raw = oldest = -1
        async for line in self._lines(start):
            if line.entry["decided_at"] >= self._findings.end_ms:
                break
            first_raw = line.entry["raw_from"] if first_raw < 0 else first_raw
            for offset in line.entry.get("decided_anew", ()):
                oldest = offset if oldest < 0 else min(oldest, offset)
        self._first_raw = max(0, first_raw)
        if 0 <= oldest < first_raw:
            covering = await self._ledger.covering(oldest, 0)
            first = covering or await self._ledger.first()
            if first is not None and first.offset < start:
                start, self._first_raw = first.offset, first.entry["raw_from"]
        return start

    async def _lines(self, position: int) -> AsyncIterator[LedgerLine]:
        """Entries from a position on, in order; a stretch that retention takes is named."""
        while lines := await self._ledger.lines(position):
            if self._ledger.begin > position:
                self._lose_before(lines[0].entry["decided_at"])
            for line in lines:
                position = line.offset + 1
                yield line
        if self._ledger.begin > position:
            self._lose_before(self._findings.end_ms)

    async def _anew(self, place: TopicPartition, entry: dict[str, Any], then: Then) -> None:
        """Judge the events of an entry whose wait ended in it."""
        offsets: Sequence[int] = entry.get("decided_anew", ())
        if then.finding is None:
            offsets = self._judge.pass_over(offsets)
        left = set(offsets)
        for at in sorted(left):
            if at in left and at >= self._begin:
                seen = await self._some_held(place, at, left)
                await self._judged(seen, entry, then, self._judge_anew)
        if left and then.finding is not None:
            self._lose_before(then.at_ms + 1)

    async def _some_held(self, place: TopicPartition, at: int, left: set[int]) -> list[Any]:
        """Records of the offsets left, from one on, as long as they stand close together."""
        consumer = self._held
        if place not in consumer.assignment():
            consumer.assign([place])
        consumer.seek(place, at)
        wanted = max(offset for offset in left if offset < at + NEAR_OFFSETS)
        found: list[Any] = []
        while (position := await consumer.position(place)) <= wanted:
            batches = await fetched(consumer, place, max_records=wanted - position + 1)
            found += [one for one in batches.get(place, []) if one.offset in left]
        left.difference_update(one.offset for one in found)
        if not found:
            await self._look_again(place)
        return found

    async def _look_again(self, place: TopicPartition) -> None:
        """See whether retention has come by."""
        begin = (await self._raw.beginning_offsets([place]))[place]
        self._is_shrinking |= begin > self._begin
        self._begin = max(self._begin, begin)

    def _judge_anew(self, seen: Seen, then: Then, lookup: LabelLookup) -> None:
        if seen.record.offset < self._first_raw and self._judge.rests_on_first(seen):
            self._lose_before(then.at_ms + 1)
        self._judge.anew(seen, then, lookup)

    async def _span(self, place: TopicPartition, entry: dict[str, Any], then: Then) -> None:
        """Judge the events that came in an entry; it holds what is read of them at a time."""
        start, stop = max(self._begin, entry["raw_from"]), min(self._end, entry["raw_next"])
        no_room = set(entry.get("not_held", ()))

        def judge(seen: Seen, then: Then, lookup: LabelLookup) -> None:
            self._judge.first(seen, then, lookup, seen.record.offset not in no_room)

        if start < stop and place not in self._raw.assignment():
            self._raw.assign([place])
            self._raw.seek(place, start)
        elif start < stop and await self._raw.position(place) != start:
            self._raw.seek(place, start)
        while start < stop:
            room = min(STEP_RECORDS_MAX, stop - start)
            batches = await fetched(self._raw, place, max_records=room)
            records = [one for one in batches.get(place, []) if one.offset < stop]
            await self._judged(records, entry, then, judge)
            before, start = start, await self._raw.position(place)
            if not batches and start > before:
                await self._look_again(place)  # or a marker was passed
        if self._is_shrinking and entry["raw_from"] < self._begin and then.finding is not None:
            self._lose_before(then.at_ms + 1)

    async def _judged(
        self,
        records: Sequence[Any],
        entry: dict[str, Any],
        then: Then,
        judge: Callable[[Seen, Then, LabelLookup], None],
    ) -> None:
        """Some records of one decision, by the labels that were known to it."""
        seen = [one for one in map(read, records) if one is not None]
        concerned = [one for one in seen if self._judge.concerns(one, then)]
        asking = [one for one in concerned if self._judge.asks_label(one)]
        lookup = LabelLookup(self._labels.find if then.knows_labels else _no_labels)
        if asking:
            await self._labels.reach(entry["label_position"], self._report)
            lookup.expect(by_partition((one.record.partition, one.number.pic) for one in asking))
        for one in concerned:
            judge(one, then, lookup)


def _no_labels(partition: int, pics: Sequence[bytes]) -> list[bytes | None]:
    return [None] * len(pics)


def _mids(grant: Grant, rights: Rights) -> set[bytes]:
    """What the grant was about, as its CRID stood then."""
    if grant.mid:
        return {grant.mid.encode()}
    crid = rights.crids.get(grant.crid)
    return {mid.encode() for mid in crid.mids} if crid is not None else set()
