"""[core] The second look: everything that was left open, raw record by raw record.

For each raw position with something open, all that is open about it is together: the topics in
which it did not stand in its turn, and the records that claim it and did not stand in theirs or
were not what they must be. The raw record is decided once more, and each is named for what it is.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from auditor.contents import Contents, Partition, Record
from auditor.course import Course, RawReader
from auditor.expected import Decider, Due, Outcome, quarantine_due
from auditor.findings import FindingKind, Findings, RawPosition
from auditor.holds import Holds, State
from auditor.ledger import Entry, turn_in_raw
from auditor.shelves import Census
from auditor.structure import Tables


@dataclass(slots=True)
class Open:
    """What is open about one raw position.

    `absent`: topics in which it is due and nothing stood in turn. `standing`: topic, record, and
    whether it stood in its turn (then it is the delivery, and something about it is wrong).
    """

    position: RawPosition
    absent: set[str] = field(default_factory=set)
    standing: list[tuple[str, Record, bool]] = field(default_factory=list)


class OpenPositions(Protocol):
    """Where the first look left them (`auditor/spill.py`)."""

    @property
    def any_open(self) -> bool:
        """Whether there ever was one."""
        ...

    def open_in(self, partition: int, start: int, end: int) -> Iterator[Open]:
        """The open positions of a raw partition with start ≤ offset < end, in order."""
        ...

    def settle(self, partition: int, start: int, end: int) -> None:
        """Forget these: they were judged."""
        ...

    def postpone(self, position: RawPosition, topics: list[str]) -> None:
        """Do not forget these yet: they are judged when the event is decided anew."""
        ...

    def postponed(self, partition: int, offset: int) -> Open | None:
        """What was postponed about a position, and is forgotten now."""
        ...

    def left(self) -> Iterator[Open]:
        """All that were not settled, by raw position."""
        ...


@dataclass(slots=True)
class SecondLook:
    """Names what was left open.

    `kept_from` is, by topic, partition and raw partition, the turn of the first record that stands
    there, for partitions from which retention has taken something.
    """

    contents: Contents
    tables: Tables
    findings: Findings
    kept_from: dict[tuple[str, int, int], int | None]
    holds: Holds
    census: Census
    tenant_of: dict[str, str] = field(default_factory=dict)

    def settle(self, course: Course, open_positions: OpenPositions) -> None:
        """Go the course again where something is open; what no entry decided is left over."""
        if not open_positions.any_open:
            return
        self.tenant_of = {body["topic"]: name for name, body in self.tables.tenants.items()}
        readers: dict[int, RawReader] = {}
        for stretch in course.stretches():
            number = stretch.entry.partition
            if stretch.decider is not None:
                self._settle_anew(stretch.entry, stretch.decider, open_positions)
                for one in open_positions.open_in(number, stretch.start, stretch.end):
                    if number not in readers:
                        held = self.contents.raw.partitions.get(number, Partition())
                        readers[number] = RawReader(held)
                    raw = readers[number].at(one.position.offset)
                    if raw is None and self._taken_meanwhile(one.position):
                        continue
                    if raw is None:
                        self._no_such_raw(one, "no raw record stands there")
                    else:
                        outcome = stretch.decider.outcome(raw)
                        self._leave_for_later(one, outcome, open_positions)
                        self._compare(one, raw, outcome, turn_in_raw(raw.offset))
            open_positions.settle(number, stretch.start, stretch.end)
        for one in open_positions.left():
            self._no_such_raw(one, "no ledger entry decided it")

    def _settle_anew(self, entry: Entry, decider: Decider, open_positions: OpenPositions) -> None:
        """What was left for the entry that decided an event anew."""
        for offset in entry.decided_anew:
            one = open_positions.postponed(entry.partition, offset)
            if one is not None:
                held = self.holds.store.find(entry.partition, offset)
                assert held is not None  # or nothing were postponed
                outcome = decider.outcome_anew(held.raw, held.awaits)
                turn = self.holds.store.turn(entry.partition, offset)
                self._compare(one, held.raw, outcome, turn or turn_in_raw(offset))

    def _leave_for_later(self, one: Open, outcome: Outcome, open_positions: OpenPositions) -> None:
        """Of an event that was decided anew later, take out what is due, or not, only then."""
        held = self.holds.store.find(*one.position)
        if outcome.awaits is None or held is None or held.state is not State.RELEASED:
            return
        later = [
            topic
            for topic in {*one.absent, *(topic for topic, _, _ in one.standing)}
            if held.waits_for(self.tenant_of.get(topic, ""))
        ]
        open_positions.postpone(one.position, later)
        one.absent.difference_update(later)
        one.standing[:] = [each for each in one.standing if each[0] not in later]

    def _compare(self, one: Open, raw: Record, outcome: Outcome, turn: int) -> None:
        due = {each.topic: each for each in outcome.due.values()}
        quarantine = self.contents.quarantine.name
        if outcome.quarantined is not None and not self.contents.scope.tenant:
            due[quarantine] = quarantine_due(quarantine, raw, outcome.quarantined)
        for topic in sorted(one.absent | {topic for topic, _, _ in one.standing}):
            here = [(record, turn) for name, record, turn in one.standing if name == topic]
            if topic not in due:
                for record, _ in here:
                    self._undue(topic, record, one.position, outcome)
            elif here:
                self._judge_copies(due[topic], here, one, turn)
            else:
                self._missing(due[topic], one.position)

    def _taken_meanwhile(self, position: RawPosition) -> bool:
        """Whether retention has taken the raw record since the ends were taken."""
        held = self.contents.raw.partitions.get(position.partition)
        return held is not None and position.offset < held.begin

    def _no_such_raw(self, one: Open, why: str) -> None:
        for topic, record, _ in one.standing:
            kind = self._kind(topic, FindingKind.EXTRA, FindingKind.QUARANTINE_EXTRA)
            claim = f"{one.position.partition}-{one.position.offset}"
            self._say(kind, topic, record, one.position, f"it claims raw {claim}, but {why}")

    def _undue(self, topic: str, record: Record, position: RawPosition, outcome: Outcome) -> None:
        if topic == self.contents.quarantine.name:
            sentence = "it could be decided and does not belong into quarantine"
            self._say(FindingKind.QUARANTINE_EXTRA, topic, record, position, sentence)
            return
        tenant = self.tenant_of.get(topic)
        if self._may_be_decided_anew(position, outcome, tenant or ""):
            self.census.behind += 1
            return
        if tenant is None:
            why = "no tenant has this topic"
        elif outcome.quarantined is not None:
            why = f"its place is quarantine ({outcome.quarantined.value})"
        elif tenant in outcome.denied:
            why = f"denied to {tenant}: {outcome.denied[tenant].value}"
        elif outcome.withheld is not None:
            why = f"withheld: {outcome.withheld.value}"
        else:
            why = f"{tenant} has no grant for it"
        self._say(FindingKind.WRONG_TENANT, topic, record, position, why)

    def _may_be_decided_anew(self, position: RawPosition, outcome: Outcome, tenant: str) -> bool:
        """Whether the entry that did so can stand behind the ledger's open transaction."""
        if outcome.awaits is None or not self.census.judged[position.partition].more:
            return False
        held = self.holds.store.find(*position)
        return held is not None and held.state < State.RELEASED and held.waits_for(tenant)

    def _missing(self, due: Due, position: RawPosition) -> None:
        kind = self._kind(due.topic, FindingKind.MISSING, FindingKind.QUARANTINE_MISSING)
        self.findings.add(
            kind,
            f"raw {position.partition}-{position.offset} is due here and does not stand here",
            topic=due.topic,
            partition=due.partition,
            raw=position,
        )

    def _judge_copies(
        self, due: Due, here: list[tuple[Record, bool]], one: Open, turn: int
    ) -> None:
        """One copy may be the delivery: the one in its turn, else the first where it is due."""
        in_turn = [record for record, turn in here if turn]
        others = [record for record, turn in here if not turn]
        others.sort(key=lambda each: (each.partition != due.partition, each.partition, each.offset))
        if not in_turn and (due.topic in one.absent or self._was_excused(due, one.position, turn)):
            in_turn = [others.pop(0)]
        for record in others:
            kind = self._kind(due.topic, FindingKind.DOUBLED, FindingKind.QUARANTINE_DOUBLED)
            self._say(kind, due.topic, record, one.position, "it stands in this topic already")
        for record in in_turn:
            for kind, sentence in _differences(due, record):
                named = self._kind(due.topic, kind, FindingKind.QUARANTINE_CHANGED)
                self._say(named, due.topic, record, one.position, sentence)

    def _was_excused(self, due: Due, position: RawPosition, turn: int) -> bool:
        """Whether its absence in turn was put down to retention, so that this is the delivery."""
        place = (due.topic, due.partition, position.partition)
        if place not in self.kept_from:
            return False
        first = self.kept_from[place]
        return first is None or turn < first

    def _kind(self, topic: str, in_tenant: FindingKind, in_quarantine: FindingKind) -> FindingKind:
        return in_quarantine if topic == self.contents.quarantine.name else in_tenant

    def _say(
        self, kind: FindingKind, topic: str, record: Record, position: RawPosition, sentence: str
    ) -> None:
        self.findings.add(
            kind,
            sentence,
            topic=topic,
            partition=record.partition,
            offset=record.offset,
            raw=position,
        )


def _differences(due: Due, record: Record) -> list[tuple[FindingKind, str]]:
    found = []
    if record.partition != due.partition:
        found.append((FindingKind.WRONG_PARTITION, f"it belongs into partition {due.partition}"))
    if record.value != due.value:
        found.append(_value_difference(due, record.value))
    if record.key != due.key:
        found.append((FindingKind.WRONG_KEY, f"its key is {record.key!r}, not {due.key!r}"))
    if record.timestamp != due.timestamp:
        found.append(
            (
                FindingKind.WRONG_TIMESTAMP,
                f"its timestamp is {record.timestamp}, not {due.timestamp}",
            )
        )
    if record.headers != due.headers:
        found.append((FindingKind.WRONG_HEADERS, _header_sentence(due, record)))
    return found


def _value_difference(due: Due, value: bytes | None) -> tuple[FindingKind, str]:
    if due.value is None or value is None:
        sentence = f"its value is {'null' if value is None else 'not null'}"
        return FindingKind.WRONG_VALUE, sentence
    at = due.restricted_at
    if at >= 0 and value[:at] == due.value[:at]:
        if len(value) > len(due.value):
            return FindingKind.NOT_CUT, "the restricted part was not cut"
        if value[at:] == b"\0":
            return FindingKind.WRONGLY_CUT, "the restricted part was cut, against a right to it"
    lengths = f"its value of {len(value)} bytes is not the {len(due.value)} bytes due"
    return FindingKind.WRONG_VALUE, lengths


def _header_sentence(due: Due, record: Record) -> str:
    for (name, value), (due_name, due_value) in zip(record.headers, due.headers, strict=False):
        if (name, value) != (due_name, due_value):
            return f"header {name}: {value!r}, not {due_name}: {due_value!r}"
    return f"it has {len(record.headers)} headers, not {len(due.headers)}"
