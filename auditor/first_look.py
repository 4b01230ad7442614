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
from auditor.expected import Decider, Plan, consider, event_id, quarantine_due
from auditor.findings import FindingKind, Findings, RawPosition
from auditor.ledger import Entry, Ledger
from auditor.scan_reader import Scan
from auditor.shelves import Shelf, Spill
from auditor.structure import Tables
from schemas.reasons import QuarantineReason

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
            for records in reader.up_to(stretch.end):
                tally.raw += len(records)
                self.progress(len(records))
                if stretch.decider is not None:
                    tally.decided += len(records)
                    self._compare(stretch.entry, stretch.decider, records)
        for shelf in self.shelves.values():
            shelf.drain()
        return readers

    def _compare(self, entry: Entry, decider: Decider, records: list[Record]) -> None:
        tally, now = decider.tally, decider.now
        plans = decider.plans
        for raw in records:
            scan, mid, reason = consider(raw)
            if scan is not None and reason is None:
                plan = plans.get((mid, scan.channel))
                if plan is None or not plan.since <= now < plan.until:
                    plan = decider.plan(mid, scan)
                if plan.answer.any_scan:
                    plan.uses += 1
                else:
                    tally.count(plan.answer, 1, decider.only_tenant)
                if plan.routes:
                    self._deliveries(entry, decider, plan, raw, scan)
            elif isinstance(reason, QuarantineReason):
                tally.quarantined[reason.value] += 1
                if not self.contents.scope.tenant:
                    self._quarantined(entry, raw, reason)
            elif reason is not None:
                tally.withheld[reason.value] += 1

    def _deliveries(
        self, entry: Entry, decider: Decider, plan: Plan, raw: Record, scan: Scan
    ) -> None:
        partition, offset, timestamp, key, value, _, _ = raw
        assert value is not None  # it was read as an event
        cut = value[: scan.restricted_at] + b"\0"
        headers = (
            SPEC_VERSION,
            EVENT_TYPE,
            decider.source,
            ("ce_id", b"%d-%d" % (partition, offset)),
            ("mg-event", event_id(ownership(scan.barcode).pic, scan)),
            decider.authz,
        )
        shelves = self.shelves
        for _, topic, partitions, grant, whole in plan.routes:
            shelf = shelves.get((topic, partition % partitions))
            record = None if shelf is None else shelf.take(partition, offset)
            if record is None:
                self._absent(entry, raw, topic, shelf)
            elif record[2:6] != (timestamp, key, value if whole else cut, (*headers, grant)):
                position = RawPosition(partition, offset)
                self.spill.standing(position, topic, record, turn=True)

    def _quarantined(self, entry: Entry, raw: Record, reason: QuarantineReason) -> None:
        due = quarantine_due(self.contents.quarantine.name, raw, reason)
        shelf = self.shelves.get((due.topic, due.partition))
        record = None if shelf is None else shelf.take(raw.partition, raw.offset)
        if record is None:
            self._absent(entry, raw, due.topic, shelf)
        elif (record.timestamp, record.key, record.value, record.headers) != (
            due.timestamp,
            due.key,
            due.value,
            due.headers,
        ):
            position = RawPosition(raw.partition, raw.offset)
            self.spill.standing(position, due.topic, record, turn=True)

    def _absent(self, entry: Entry, raw: Record, topic: str, shelf: Shelf | None) -> None:
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
        elif shelf.may_be_gone(position) and shelf.excused < shelf.partition.begin:
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
