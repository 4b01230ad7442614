"""What was delivered and should not have been, and the reverse: a list, and how it is made.

Each raw partition is replayed by itself (`breach_replay`). Rows go to a file as they are found, so
memory does not grow with them.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

from midgate.breach_judging import Judge, has_token_grants
from midgate.breach_replay import Consumers, Findings, LogRecord, PartitionReplay
from midgate.label_replay import LabelReplay
from midgate.ledger_reading import Ledger
from midgate.reading import partitions_of, reading
from midgate.rights_history import records_of
from streams.corrected_past import Breach
from streams.errors import InputError
from streams.instants import format_instant

if TYPE_CHECKING:
    from aiokafka import AIOKafkaConsumer

    from midgate.rights_session import Session
    from streams.facts import Correction, Grant

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


@dataclass(slots=True)
class Report:
    """Rows in a file of their own, and their counts by tenant and kind."""

    grant: Grant
    corrections: list[Correction]
    gaps: list[dict[str, Any]] = field(default_factory=list)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
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

    @property
    def would_have_waited(self) -> int:
        """Events of which it is not known whether a label would have come in time."""
        return self.counts[self.grant.tenant_id, Breach.WOULD_HAVE_WAITED.value]

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
        raw, ledger, labels, held = [
            await stack.enter_async_context(reading(kafka)) for _ in range(4)
        ]
        log = await _log(session, raw)
        consumers = Consumers(raw, ledger, labels, held)
        await _Replay(session, found, log, consumers, now_ms).run(on_progress)
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
        consumers: Consumers,
        now_ms: int,
    ) -> None:
        self._topics = session.settings.layout.topics
        self._found = found
        self._log = log
        self._consumers = consumers
        self._has_tokens = has_token_grants(session.rights.grants.values(), found.grant.tenant_id)
        ends = [now_ms if one.wrong_to is None else one.wrong_to for one in found.corrections]
        start = min(one.wrong_from for one in found.corrections)
        self._findings = Findings(found.grant, found.corrections, start, max(ends))

    async def run(self, on_progress: OnProgress) -> None:
        raw, labels = self._consumers.raw, self._consumers.labels
        places = await partitions_of(raw, self._topics.raw)
        begins = await raw.beginning_offsets(places)
        ends = await raw.end_offsets(places)
        label_places = await partitions_of(labels, self._topics.labels)
        label_ends = await labels.end_offsets(label_places)
        total = sum(ends[place] - begins[place] for place in places) + sum(label_ends.values())
        done = 0
        recorded_from = start = self._findings.start_ms
        for place in places:
            judge = Judge(self._found.grant, has_tokens=self._has_tokens, add=self._found.add)
            of_labels = LabelReplay(labels, label_places[place.partition])
            replay = PartitionReplay(
                self._consumers,
                Ledger(self._consumers.ledger, self._topics.ledger, place.partition),
                of_labels,
                judge,
                self._findings,
            )
            bounds = begins[place], ends[place]
            try:
                since = await replay.run(
                    place,
                    bounds,
                    self._log,
                    lambda read, done=done: on_progress(done + read, total),  # type: ignore[misc]
                )
            finally:
                of_labels.close()
            recorded_from = max(recorded_from, since)
            done += ends[place] - begins[place] + label_ends[label_places[place.partition]]
            on_progress(done, total)
        if recorded_from > start:
            gap = dict.fromkeys(COLUMNS, "")
            gap |= {"kind": "not_recorded", "tenant": self._found.grant.tenant_id}
            gap |= {"from": format_instant(start), "to": format_instant(recorded_from)}
            self._found.gaps.append(gap)
