"""[core] The first look: raw, as it was decided, beside what stands in the topics, in order.

The loop over the events. What stands in its turn and is right is done with; all else is left open
and settled by the second look, which sees everything that claims the same raw record together.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from auditor.barcodes import ownership
from auditor.contents import Contents, Partition, Record
from auditor.course import Course, RawReader
from auditor.expected import (
    Decider,
    Decision,
    Headers,
    Plan,
    consider,
    event_id,
    quarantine_due,
)
from auditor.findings import FindingKind, Findings, RawPosition
from auditor.holds import Holds
from auditor.ledger import LAST_IN_TURN, TURN_BITS, Entry, Ledger, turn_in_raw
from auditor.scan_reader import Scan, read_scan
from auditor.shelves import Judged, Shelf, Spill
from auditor.structure import Tables
from schemas.reasons import QuarantineReason, Reason

SPEC_VERSION, EVENT_TYPE = ("ce_specversion", b"1.0"), ("ce_type", b"org.midgate.scan.v1")


@dataclass(slots=True)
class Excused:
    """Records that are due and absent, and why that is no finding; by topic."""

    gone: Counter[str] = field(default_factory=Counter)
    behind: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class FirstLook:
    """Compares everything once. `shelves` are by topic and partition."""

    contents: Contents
    tables: Tables
    shelves: dict[tuple[str, int], Shelf]
    spill: Spill
    excused: Excused
    progress: Callable[[int], None]
    holds: Holds
    judged: dict[int, Judged]

    def compare(self, course: Course) -> dict[int, RawReader]:
        """Go the whole course; answers the readers of raw, which stand where it ends."""
        readers = {
            number: RawReader(partition)
            for number, partition in self.contents.raw.partitions.items()
            if course.share.takes(number)
        }
        tally = course.tally
        for stretch in course.stretches():
            reader = readers.setdefault(stretch.entry.partition, RawReader(Partition()))
            for records in reader.up_to(stretch.start):
                tally.raw += len(records)  # in a gap of the ledger, which was found
            if stretch.decider is None:
                self.holds.skip(stretch.entry, stretch.start, stretch.end)
            else:
                self._waiting(stretch.entry, stretch.decider)
            for records in reader.up_to(stretch.end):
                tally.raw += len(records)
                self.progress(len(records))
                if stretch.decider is not None:
                    tally.decided += len(records)
                    self._compare(stretch.entry, stretch.decider, records)
            if stretch.decider is not None and stretch.entry.not_held:
                self.holds.check_not_held(stretch.entry, stretch.start)
        for shelf in self.shelves.values():
            shelf.drain()
        return readers

    def _waiting(self, entry: Entry, decider: Decider) -> None:
        """What an entry decides before its span: events that waited."""
        holds, tally = self.holds, decider.tally
        holds.begin(entry)
        judged_from = self._judged_from(entry.partition)
        for offset in entry.decided_anew:
            held = holds.decide_anew(entry, offset, judged_from)
            if held is not None:
                tally.held -= 1
                scan = read_scan(held.raw.value)
                assert isinstance(scan, Scan)  # it was read before it was held
                decision = decider.anew(held.raw, scan, held.awaits)
                if held.awaits:
                    tally.due.update(route.tenant for route in decision.routes)
                else:
                    tally.count(decision.answer, 1, decider.only_tenant)
                turn = holds.turn(entry.partition, offset, held.awaits[0] if held.awaits else "")
                self._deliveries(entry, decider, decision, held.raw, scan, turn)
        for offset in entry.given_up:
            held = holds.give_up(entry, offset, judged_from)
            if held is not None:
                tally.held -= 1
                if not held.awaits:
                    tally.withheld[Reason.LABEL_NEEDED.value] += 1
        if entry.raw_from < entry.raw_next:
            holds.check_left(entry)

    def _judged_from(self, partition: int) -> int:
        held = self.contents.raw.partitions.get(partition, Partition())
        return max(self.judged[partition].start, held.begin)

    def _compare(self, entry: Entry, decider: Decider, records: list[Record]) -> None:
        tally, now = decider.tally, decider.now
        plans = decider.plans
        for raw in records:
            scan, mid, reason = consider(raw)
            if reason is not None:
                tally.quarantined[reason.value] += 1
                if not self.contents.scope.tenant:
                    self._quarantined(entry, raw, reason)
                continue
            assert scan is not None  # or there were a reason
            if mid:
                plan = plans.get((mid, scan.channel))
                if plan is None or not plan.since <= now < plan.until:
                    plan = decider.plan(mid, scan.channel)
                if plan.answer.any_scan:
                    plan.uses += 1
                    if plan.routes:
                        # `turn_in_raw`, written out
                        turn = raw[1] << TURN_BITS | LAST_IN_TURN
                        self._deliveries(entry, decider, plan, raw, scan, turn)
                    continue
            self._by_itself(entry, decider, raw, scan, mid)

    def _by_itself(self, entry: Entry, decider: Decider, raw: Record, scan: Scan, mid: str) -> None:
        """An event that no plan decides: its time or its label does, and it may wait for one."""
        decision = decider.decision(raw, scan, mid)
        waits = False
        if decision.awaits is not None:
            waits = self.holds.hold(entry, raw, ownership(scan.barcode).pic, decision.awaits)
            decider.tally.held += waits
        if not waits or decision.awaits:
            decider.tally.count(decision.answer, 1, decider.only_tenant)
        self._deliveries(entry, decider, decision, raw, scan, turn_in_raw(raw.offset))

    def _deliveries(
        self,
        entry: Entry,
        decider: Decider,
        decided: Plan | Decision,
        raw: Record,
        scan: Scan,
        turn: int,
    ) -> None:
        partition, offset, timestamp, key, value, _, _ = raw
        assert value is not None  # it was read as an event
        cut = value[: scan.restricted_at] + b"\0"
        headers: Headers = (
            SPEC_VERSION,
            EVENT_TYPE,
            decider.source,
            ("ce_id", b"%d-%d" % (partition, offset)),
            ("mg-event", event_id(ownership(scan.barcode).pic, scan)),
            decider.authz,
        )
        if decided.named_by is not None:
            headers = (*headers, decided.named_by)
        shelves = self.shelves
        for _, topic, partitions, grant, whole in decided.routes:
            shelf = shelves.get((topic, partition % partitions))
            record = None if shelf is None else shelf.take(partition, offset, turn)
            if record is None:
                self._absent(entry, raw, topic, shelf, turn)
            elif record[2:6] != (timestamp, key, value if whole else cut, (*headers, grant)):
                position = RawPosition(partition, offset)
                self.spill.standing(position, topic, record, turn=True)

    def _quarantined(self, entry: Entry, raw: Record, reason: QuarantineReason) -> None:
        due = quarantine_due(self.contents.quarantine.name, raw, reason)
        shelf = self.shelves.get((due.topic, due.partition))
        turn = turn_in_raw(raw.offset)
        record = None if shelf is None else shelf.take(raw.partition, raw.offset, turn)
        if record is None:
            self._absent(entry, raw, due.topic, shelf, turn)
        elif (record.timestamp, record.key, record.value, record.headers) != (
            due.timestamp,
            due.key,
            due.value,
            due.headers,
        ):
            position = RawPosition(raw.partition, raw.offset)
            self.spill.standing(position, due.topic, record, turn=True)

    def _absent(
        self, entry: Entry, raw: Record, topic: str, shelf: Shelf | None, turn: int
    ) -> None:
        """Nothing stands in turn: excused, or left open."""
        since = self.contents.scope.since_ms
        if not entry.settled or (since is not None and raw.timestamp < since):
            return
        position = RawPosition(raw.partition, raw.offset)
        if shelf is None:
            if self._removed_with_its_tenant(topic):
                self.excused.gone[topic] += 1
                return
        elif shelf.read_out and shelf.partition.high_watermark > shelf.partition.end:
            self.excused.behind[topic] += 1
            return
        elif shelf.may_be_gone(raw.partition, turn) and shelf.excused < shelf.partition.begin:
            # No more can be gone than there are offsets below the beginning.
            shelf.excused += 1
            self.excused.gone[topic] += 1
            return
        self.spill.absent(position, topic)

    def _removed_with_its_tenant(self, topic: str) -> bool:
        held = self.contents.tenants.get(topic)
        closed = {self.tables.tenants[tenant]["topic"] for tenant in self.tables.closed
                  if tenant in self.tables.tenants}  # fmt: skip
        return (held is None or not held.exists) and topic in closed


def check_undecided(
    contents: Contents, ledger: Ledger, readers: dict[int, RawReader], findings: Findings
) -> int:
    """Raw beyond the ledger in a system at rest: one finding a partition, as it is one fact.

    Answers how many records were read.
    """
    read = 0
    for number, reader in sorted(readers.items()):
        covered = ledger.covered.get(number)
        first = -1
        beyond = 0
        for records in reader.rest():
            read += len(records)
            for record in records:
                if covered is None or record.offset >= covered.raw_next:
                    first = record.offset if beyond == 0 else first
                    beyond += 1
        if beyond:
            findings.add(
                FindingKind.UNDECIDED,
                f"{beyond} raw records from {number}-{first} on have no ledger entry",
                topic=contents.raw.name,
                partition=number,
                offset=first,
                raw=RawPosition(number, first),
            )
    return read


def check_left_waiting(contents: Contents, holds: Holds, findings: Findings) -> None:
    """Events that wait though their label is there, in a system at rest: as above."""
    for number, offsets in holds.left_at_rest():
        findings.add(
            FindingKind.UNDECIDED,
            f"{len(offsets)} events from {number}-{offsets[0]} on have their label and still wait",
            topic=contents.raw.name,
            partition=number,
            offset=offsets[0],
            raw=RawPosition(number, offsets[0]),
        )
