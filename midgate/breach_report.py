"""What was delivered and should not have been, and the reverse: the past replayed, event by event.

For each raw partition the ledger says under which version and at which instant each record was
decided; the authorization log is replayed along with it. Rows go to a file as they are found, so
memory does not grow with them.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

from midgate.ledger_reading import Ledger, LedgerLine
from midgate.reading import POLL_MS, partitions_of, reading
from midgate.rights_history import records_of
from streams.corrected_past import compare, finding_at
from streams.errors import InputError
from streams.instants import format_instant

if TYPE_CHECKING:
    from aiokafka import AIOKafkaConsumer, TopicPartition

    from midgate.rights_session import Session
    from streams.facts import Correction, Grant
    from streams.rights import Rights
    from streams.rights_snapshot import RightsSnapshot

# A ledger entry is written at most a transaction's length after it was decided.
LEDGER_SLACK_MS = 60_000
STEP_RECORDS_MAX = 10_000
FETCH_BYTES_MAX = 8 * 1024 * 1024

COLUMNS = (
    "kind",
    "tenant",
    "barcode",
    "event_code",
    "event_time",
    "facility_zip",
    "personal_data",
    "decided_at",
    "received",
    "position",
    "event_id",
    "version",
    "under_grant",
    "correction",
    "from",
    "to",
)
"""Of a row. `from` and `to` only of kind `not_recorded`."""

OnProgress = Callable[[int, int], None]
LogRecord = tuple[int, int, bytes | None]


@dataclass(slots=True)
class Report:
    """Rows in a file of their own, and their counts by tenant and kind."""

    grant: Grant
    corrections: list[Correction]
    gaps: list[dict[str, Any]] = field(default_factory=list)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    by_label: int = 0
    _file: IO[str] = field(default_factory=lambda: tempfile.TemporaryFile("w+"))  # noqa: SIM115

    def add(self, row: dict[str, Any]) -> None:
        """One more row."""
        self.counts[row["tenant"], row["kind"]] += 1
        self._file.write(json.dumps(row) + "\n")

    def rows(self) -> Iterator[dict[str, Any]]:
        """Every row, what is not recorded first."""
        yield from self.gaps
        self._file.seek(0)
        for line in self._file:
            yield json.loads(line)

    def summary(self) -> list[dict[str, Any]]:
        """Counts by tenant and kind."""
        return [
            {"tenant": tenant, "kind": kind, "events": count}
            for (tenant, kind), count in sorted(self.counts.items())
        ]


async def report(session: Session, grant_id: str, now_ms: int, on_progress: OnProgress) -> Report:
    """Replay what the findings about a grant cover. Raises InputError when there are none."""
    rights = session.rights
    grant = rights.grants.get(grant_id)
    if grant is None:
        raise InputError(f"grant {grant_id} is not known", hint="`midgate grant list` shows all")
    findings = [one for one in rights.corrections.values() if one.grant_id == grant_id]
    corrections = sorted((one for one in findings if not one.withdrawn), key=lambda c: c.wrong_from)
    if not corrections:
        raise InputError(
            f"nothing was found wrong with grant {grant_id}",
            hint="`midgate grant correct GRANT --wrong-from …` writes it down first",
        )
    found = Report(grant, corrections)
    async with AsyncExitStack() as stack:
        kafka = session.settings.kafka
        raw = await stack.enter_async_context(reading(kafka))
        ledger = await stack.enter_async_context(reading(kafka))
        log = await _log(session, raw)
        await _Replay(session, found, log, (raw, ledger), now_ms).run(on_progress)
    return found


async def _log(session: Session, consumer: AIOKafkaConsumer) -> list[LogRecord]:
    """The whole log as it stands; it is replayed once for each partition."""
    from aiokafka import TopicPartition

    place = TopicPartition(session.settings.layout.topics.authorization, 0)
    consumer.assign([place])
    log: list[LogRecord] = []
    async for records in records_of(consumer, place, 0, session.follower.version):
        log += [(record.offset, record.timestamp, record.value) for record in records]
    return log


class _Replay:
    """One report under way."""

    def __init__(
        self,
        session: Session,
        found: Report,
        log: Sequence[LogRecord],
        consumers: tuple[AIOKafkaConsumer, AIOKafkaConsumer],
        now_ms: int,
    ) -> None:
        self._topics = session.settings.layout.topics
        self._found = found
        self._log = log
        self._raw, self._ledger = consumers
        self._start = min(one.wrong_from for one in found.corrections)
        ends = [now_ms if one.wrong_to is None else one.wrong_to for one in found.corrections]
        self._end = max(ends)

    async def run(self, on_progress: OnProgress) -> None:
        places = await partitions_of(self._raw, self._topics.raw)
        begins = await self._raw.beginning_offsets(places)
        ends = await self._raw.end_offsets(places)
        total = sum(ends[place] - begins[place] for place in places)
        done = 0
        recorded_from = self._start
        for place in places:
            since = await self._partition(
                place,
                (begins[place], ends[place]),
                lambda read, done=done: on_progress(done + read, total),  # type: ignore[misc]
            )
            recorded_from = max(recorded_from, since)
            done += ends[place] - begins[place]
            on_progress(done, total)
        if recorded_from > self._start:
            gap = dict.fromkeys(COLUMNS, "")
            gap |= {"kind": "not_recorded", "tenant": self._found.grant.tenant_id}
            gap |= {"from": format_instant(self._start), "to": format_instant(recorded_from)}
            self._found.gaps.append(gap)

    async def _partition(
        self, place: TopicPartition, bounds: tuple[int, int], report_read: Callable[[int], None]
    ) -> int:
        """Replay one partition; the instant from which its decisions are recorded."""
        from streams.rights import Rights

        begin, end = bounds
        ledger = Ledger(self._ledger, self._topics.ledger, place.partition)
        await ledger.open()
        recorded_from = max(self._start, await self._recorded_from(ledger, begin))
        rights = Rights()
        replayed = iter(self._log)
        waiting = next(replayed, None)
        async for line in self._lines(ledger):
            entry = line.entry
            decided_at = entry["decided_at"]
            if decided_at >= self._end:
                break
            finding = finding_at(self._found.corrections, decided_at)
            if finding is None:
                continue
            while waiting is not None and waiting[0] < entry["version"]:
                rights.apply(*waiting)
                waiting = next(replayed, None)
            start, stop = max(begin, entry["raw_from"]), min(end, entry["raw_next"])
            await self._records(place, (start, stop), rights, entry, finding)
            report_read(stop - begin)
        return recorded_from

    async def _recorded_from(self, ledger: Ledger, raw_begin: int) -> int:
        """The instant of the oldest decision of which both event and entry are there; 0: all."""
        first = await ledger.first()
        oldest = await ledger.covering(raw_begin, 0) if raw_begin else None
        if (raw_begin or ledger.begin) and first is None:
            return self._end
        known = [0]
        if ledger.begin and first is not None:
            known.append(first.entry["decided_at"])
        if oldest is not None:
            known.append(oldest.entry["decided_at"])
        return max(known)

    async def _lines(self, ledger: Ledger) -> AsyncIterator[LedgerLine]:
        """Entries decided in the time that the findings cover, in order."""
        position = await ledger.from_instant(self._start - LEDGER_SLACK_MS)
        while lines := await ledger.lines(position):
            for line in lines:
                position = line.offset + 1
                yield line

    async def _records(
        self,
        place: TopicPartition,
        offsets: tuple[int, int],
        rights: Rights,
        entry: dict[str, Any],
        finding: Correction,
    ) -> None:
        """Judge the records of one entry anew; it holds what is read of them at a time."""
        start, stop = offsets
        if start >= stop:
            return
        mids = _mids(self._found.grant, rights)
        snapshot = rights.snapshot(0.0)
        if place not in self._raw.assignment():
            self._raw.assign([place])
            self._raw.seek(place, start)
        elif await self._raw.position(place) != start:
            self._raw.seek(place, start)
        while await self._raw.position(place) < stop:
            room = min(STEP_RECORDS_MAX, stop - await self._raw.position(place))
            batches = await self._raw.getmany(place, timeout_ms=POLL_MS, max_records=room)
            for record in batches.get(place, []):
                if record.offset < stop:
                    self._judge(record, snapshot, mids, entry, finding)

    def _judge(
        self,
        record: Any,
        snapshot: RightsSnapshot,
        mids: set[bytes],
        entry: dict[str, Any],
        finding: Correction,
    ) -> None:
        from schemas.barcode import owner
        from schemas.codec import MalformedRecordError, UnknownFrameError
        from schemas.event_id import event_id
        from schemas.event_reader import read_event
        from schemas.reasons import BarcodeVerdict
        from streams.decision import Event

        value = bytes(record.value or b"")
        try:
            facts = read_event(value)
        except (MalformedRecordError, UnknownFrameError):
            return
        said = owner(facts.barcode)
        if said.verdict is BarcodeVerdict.NO_OWNER:
            self._found.by_label += 1
        if said.mid not in mids or not facts.channel:
            return
        grant = self._found.grant
        if grant.basis == "MERCHANT_TOKEN":
            self._found.by_label += 1
        mid = said.mid.decode("ascii")
        event = Event(mid, facts.channel, facts.event_time_ms, facts.time_basis, None)
        differs = compare(
            event, entry["decided_at"], snapshot.candidates(mid), snapshot, grant, finding
        )
        holds_personal = len(value) > facts.restricted_at + 1
        if differs is None or (differs.breach.startswith("personal") and not holds_personal):
            return
        self._found.add(
            {
                "kind": differs.breach.value,
                "tenant": grant.tenant_id,
                "barcode": facts.barcode.decode("utf-8"),
                "event_code": facts.event_code.decode("utf-8"),
                "event_time": format_instant(facts.event_time_ms),
                "facility_zip": facts.facility_zip.decode("utf-8"),
                "personal_data": "yes" if differs.personal_data and holds_personal else "no",
                "decided_at": format_instant(entry["decided_at"]),
                "received": format_instant(record.timestamp),
                "position": f"{record.partition}:{record.offset}",
                "event_id": event_id(said.pic, facts).hex(),
                "version": entry["version"],
                "under_grant": differs.under,
                "correction": finding.correction_id,
                "from": "",
                "to": "",
            }
        )


def _mids(grant: Grant, rights: Rights) -> set[bytes]:
    """What the grant was about, as its CRID stood then."""
    if grant.mid:
        return {grant.mid.encode()}
    crid = rights.crids.get(grant.crid)
    return {mid.encode() for mid in crid.mids} if crid is not None else set()
