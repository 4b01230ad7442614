"""[core] What stands in the tenant topics and in quarantine, by the raw record it claims to be."""

import re
from collections import Counter
from dataclasses import dataclass, field

from auditor.contents import Contents, Partition, Record, Topic
from auditor.expected import Due, Outcome, quarantine_due
from auditor.findings import FindingKind, Findings, RawPosition
from auditor.ledger import Entry, Ledger
from auditor.structure import Tables

POSITION = re.compile(rb"(0|[1-9][0-9]{0,9})-(0|[1-9][0-9]{0,18})")
RAW_ORIGIN = b"raw:"


@dataclass(frozen=True, slots=True)
class Placement:
    """A record and the topic it stands in."""

    topic: str
    record: Record


@dataclass(slots=True)
class Placements:
    """The list that the judge takes expected records off."""

    tenant_of: dict[str, str]
    closed: set[str]
    topics: dict[str, Topic]
    quarantine: Topic
    by_raw: dict[RawPosition, list[Placement]] = field(default_factory=dict)
    tenant_records: Counter[str] = field(default_factory=Counter)
    never_raw: Counter[str] = field(default_factory=Counter)
    _excused: Counter[tuple[str, int]] = field(default_factory=Counter)
    _first_kept: dict[tuple[str, int, int], int] = field(default_factory=dict)
    _gone: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, contents: Contents, tables: Tables, findings: Findings) -> "Placements":
        """Index every record; those that do not say what they are, are found here."""
        tenant_of = {body["topic"]: tenant for tenant, body in tables.tenants.items()}
        self = cls(tenant_of, tables.closed, contents.tenants, contents.quarantine)
        for topic in contents.tenants.values():
            for record in topic.records():
                self.tenant_records[tenant_of.get(topic.name, topic.name)] += 1
                self._index(topic.name, record, _position(_last(record, "ce_id")), findings)
            _check_order(topic, findings)
        for record in contents.quarantine.records():
            origin = _last(record, "mg-origin") or b""
            if origin and not origin.startswith(RAW_ORIGIN):
                reason = _last(record, "mg-reason") or b"?"
                self.never_raw[reason.decode("utf-8", "replace")] += 1
                continue
            position = _position(origin.removeprefix(RAW_ORIGIN))
            self._index(contents.quarantine.name, record, position, findings)
        return self

    def compare(self, raw: Record, outcome: Outcome, findings: Findings) -> None:
        """Take what stands for one raw record off the list, and say what is wrong with it."""
        position = RawPosition(raw.partition, raw.offset)
        standing = self.by_raw.pop(position, [])
        due = {one.topic: one for one in outcome.due.values()}
        if outcome.quarantined is not None:
            one = quarantine_due(self.quarantine.name, raw, outcome.quarantined)
            due[one.topic] = one
        for topic in {**due, **dict.fromkeys(place.topic for place in standing)}:
            here = [place.record for place in standing if place.topic == topic]
            if topic not in due:
                for record in here:
                    self._undue(topic, record, position, outcome, findings)
            elif not here:
                self._missing(due[topic], position, findings)
            else:
                self._judge_copies(due[topic], here, position, findings)

    def leave_over(
        self, raw: Topic, ledger: Ledger, unjudged: list[Entry], findings: Findings
    ) -> int:
        """Findings for what is still on the list; answers how much of it cannot be judged."""
        retained = 0
        for position, places in sorted(self.by_raw.items()):
            number, offset = position
            decided = offset < ledger.covered_to.get(number, 0)
            if any(
                entry.partition == number and entry.raw_from <= offset < entry.raw_next
                for entry in unjudged
            ):
                continue
            begin = max(
                raw.partitions.get(number, Partition()).begin, ledger.covered_from.get(number, 0)
            )
            if decided and offset < begin:
                retained += len(places)
                continue
            for place in places:
                kind = (
                    FindingKind.QUARANTINE_EXTRA
                    if place.topic == self.quarantine.name
                    else FindingKind.EXTRA
                )
                why = "no raw record stands there" if decided else "no ledger entry decided it"
                _add(findings, kind, place.topic, place.record, position, f"it claims raw "
                     f"{number}-{offset}, but {why}")  # fmt: skip
        return retained

    def excuses(self) -> list[str]:
        """Sentences about what retention has taken from the topics themselves."""
        return [
            f"{count} records due in {topic} lie before what retention has kept there; not judged"
            for topic, count in sorted(self._gone.items())
        ]

    def _index(
        self, topic: str, record: Record, position: RawPosition | None, findings: Findings
    ) -> None:
        if position is None:
            kind = (
                FindingKind.QUARANTINE_EXTRA
                if topic == self.quarantine.name
                else FindingKind.WRONG_HEADERS
            )
            _add(findings, kind, topic, record, None, "it does not say which raw record it is")
            return
        self.by_raw.setdefault(position, []).append(Placement(topic, record))
        self._first_kept.setdefault((topic, record.partition, position.partition), position.offset)

    def _undue(
        self,
        topic: str,
        record: Record,
        position: RawPosition,
        outcome: Outcome,
        findings: Findings,
    ) -> None:
        if topic == self.quarantine.name:
            sentence = "it could be decided and does not belong into quarantine"
            _add(findings, FindingKind.QUARANTINE_EXTRA, topic, record, position, sentence)
            return
        tenant = self.tenant_of.get(topic)
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
        _add(findings, FindingKind.WRONG_TENANT, topic, record, position, why)

    def _missing(self, due: Due, position: RawPosition, findings: Findings) -> None:
        if self._taken_by_retention(due, position):
            return
        kind = (
            FindingKind.QUARANTINE_MISSING
            if due.topic == self.quarantine.name
            else FindingKind.MISSING
        )
        findings.add(
            kind,
            f"raw {position.partition}-{position.offset} is due here and does not stand here",
            topic=due.topic,
            partition=due.partition,
            raw=position,
        )

    def _taken_by_retention(self, due: Due, position: RawPosition) -> bool:
        """Whether the record may have stood below what is kept, or went with a closed tenant.

        No more records can be excused in a partition than it has offsets below its beginning.
        """
        topic = self.quarantine if due.topic == self.quarantine.name else self.topics[due.topic]
        if not topic.exists and self.tenant_of[due.topic] in self.closed:
            self._gone[due.topic] += 1
            return True
        begin = topic.partitions.get(due.partition, Partition()).begin
        place = (due.topic, due.partition)
        first = self._first_kept.get((*place, position.partition))
        if self._excused[place] >= begin or (first is not None and position.offset > first):
            return False
        self._excused[place] += 1
        self._gone[due.topic] += 1
        return True

    def _judge_copies(
        self, due: Due, here: list[Record], position: RawPosition, findings: Findings
    ) -> None:
        quarantine = due.topic == self.quarantine.name
        for record in here[1:]:
            kind = FindingKind.QUARANTINE_DOUBLED if quarantine else FindingKind.DOUBLED
            sentence = f"it stands at {here[0].partition}-{here[0].offset} already"
            _add(findings, kind, due.topic, record, position, sentence)
        for kind, sentence in _differences(due, here[0]):
            kind = FindingKind.QUARANTINE_CHANGED if quarantine else kind
            _add(findings, kind, due.topic, here[0], position, sentence)


def _differences(due: Due, record: Record) -> list[tuple[FindingKind, str]]:
    found = []
    if record.partition != due.partition:
        found.append((FindingKind.WRONG_PARTITION, f"it belongs into partition {due.partition}"))
    if record.value != due.value:
        found.append((FindingKind.WRONG_VALUE, _value_sentence(due.value, record.value)))
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


def _value_sentence(due: bytes | None, value: bytes | None) -> str:
    if due is None or value is None:
        return f"its value is {'null' if value is None else 'not null'}"
    if value.startswith(due[:-1]) and len(value) > len(due):
        return "the restricted part was not cut"
    return f"its value of {len(value)} bytes is not the raw value cut to {len(due)} bytes"


def _header_sentence(due: Due, record: Record) -> str:
    for (name, value), (due_name, due_value) in zip(record.headers, due.headers, strict=False):
        if (name, value) != (due_name, due_value):
            return f"header {name}: {value!r}, not {due_name}: {due_value!r}"
    return f"it has {len(record.headers)} headers, not {len(due.headers)}"


def _check_order(topic: Topic, findings: Findings) -> None:
    """Events of one raw partition, and so of one package, keep their order."""
    for partition in topic.partitions.values():
        highest: dict[int, int] = {}
        for record in partition.records:
            position = _position(_last(record, "ce_id"))
            if position is None:
                continue
            before = highest.get(position.partition, -1)
            if position.offset < before:
                sentence = f"it stands after raw {position.partition}-{before}"
                _add(findings, FindingKind.OUT_OF_ORDER, topic.name, record, position, sentence)
            highest[position.partition] = max(before, position.offset)


def _last(record: Record, name: str) -> bytes | None:
    """The last header of a name: ours stand after the raw record's own."""
    for header, value in reversed(record.headers):
        if header == name:
            return value
    return None


def _position(text: bytes | None) -> RawPosition | None:
    match = POSITION.fullmatch(text or b"")
    return RawPosition(int(match[1]), int(match[2])) if match else None


def _add(
    findings: Findings,
    kind: FindingKind,
    topic: str,
    record: Record,
    position: RawPosition | None,
    sentence: str,
) -> None:
    findings.add(
        kind,
        sentence,
        topic=topic,
        partition=record.partition,
        offset=record.offset,
        raw=position,
    )
