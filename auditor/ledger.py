"""[core] Reads the decision ledger, and checks it against itself and the log.

Entries of one raw partition must join without gap or overlap; version, clock and label position
never go back; every entry stands on an accepted registration below its version. (What entries say
of events that wait for a label is checked by `auditor/holds.py`.)

The ledger is read twice: `survey` checks it and learns how far it reaches, `in_order` hands out
the entries to be judged. Neither keeps more than an entry of each partition.

*Turns* are the order in which records of one raw partition must stand in a topic: an event that is
decided in its turn comes by its raw offset, one decided anew before the span of that entry.
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from auditor import avro_reader
from auditor.contents import Contents, Partition, Share, Topic
from auditor.findings import FindingKind, Findings, RawPosition
from auditor.rights import Registration

TURN_BITS = 32
LAST_IN_TURN = (1 << TURN_BITS) - 1


@dataclass(frozen=True, slots=True)
class Entry:
    """A ledger entry, and where it stands.

    What a `settled` one led to must be readable in every topic that is read; what a later one led
    to can still lie beyond the end of it. `hold_ms` is None where the entry's version cannot say.
    """

    offset: int
    deliverer: str
    registration: str
    partition: int
    raw_from: int
    raw_next: int
    log_id: str
    version: int
    decided_at: int
    settled: bool = True
    label_position: int = -1
    decided_anew: tuple[int, ...] = ()
    given_up: tuple[int, ...] = ()
    not_held: frozenset[int] = frozenset()
    hold_ms: int | None = None


@dataclass(slots=True)
class Covered:
    """What the ledger says of one raw partition: decided from, up to, and settled up to."""

    raw_from: int
    raw_next: int
    settled_to: int


@dataclass(slots=True)
class Ledger:
    """How far each raw partition is decided, and what people should know of the ledger."""

    covered: dict[int, Covered] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class AnewList(Protocol):
    """Where it is noted which events are decided anew."""

    def list_anew(self, partition: int, offset: int, before: int, number: int) -> None:
        """An event is decided anew before raw offset `before`, as the `number`th of its partition.

        The first time counts.
        """
        ...


def turn_in_raw(offset: int) -> int:
    """The turn of an event that is decided when raw comes to it."""
    return offset << TURN_BITS | LAST_IN_TURN


def turn_anew(before: int, number: int) -> int:
    """The turn of the `number`th event of a partition that is decided anew."""
    return before << TURN_BITS | number


def survey(
    contents: Contents, share: Share, log_id: str, findings: Findings, anew: AnewList
) -> Ledger:
    """Check every entry against the one before it in its partition."""
    ledger, topic = Ledger(), contents.ledger
    for number, partition in sorted(topic.partitions.items()):
        if not share.takes(number):
            continue
        before: Entry | None = None
        listed = 0
        for entry in _entries(topic.name, number, partition, findings):
            if before is None:
                _check_start(topic.name, partition, contents.raw, entry, findings, ledger.notes)
                covered = ledger.covered[number] = Covered(entry.raw_from, 0, entry.raw_from)
            else:
                _check_join(topic.name, before, entry, findings)
            before = entry
            for offset in entry.decided_anew:
                if offset < entry.raw_from:
                    start = max(entry.raw_from, covered.raw_next)
                    anew.list_anew(number, offset, start, listed)
                listed += 1
            _check_labels(contents, entry, findings)
            covered.raw_next = max(covered.raw_next, entry.raw_next)
            if entry.settled:
                covered.settled_to = max(covered.settled_to, entry.raw_next)
            if entry.log_id != log_id:
                findings.add(
                    FindingKind.LEDGER_OTHER_LOG,
                    f"decided by log {entry.log_id}, not by {log_id}",
                    topic=topic.name,
                    partition=number,
                    offset=entry.offset,
                    raw=RawPosition(number, entry.raw_from),
                )
    return ledger


def in_order(topic: Topic, share: Share) -> Iterator[Entry]:
    """The readable entries of all partitions, each partition's in its own order.

    Across partitions the lowest version comes first, then the earliest clock reading: the log is
    replayed once, and the order comes close to that in which deliveries were committed, so that
    little of a tenant topic waits for another raw partition.
    """
    streams = [
        _entries(topic.name, number, partition, Findings())
        for number, partition in sorted(topic.partitions.items())
        if share.takes(number)
    ]
    return heapq.merge(*streams, key=lambda one: (one.version, one.decided_at, one.partition))


def check_registration(
    topic: str, entry: Entry, registrations: dict[str, Registration], findings: Findings
) -> bool:
    """An entry counts only under the last registration of its deliverer that its version saw.

    `registrations` are the accepted ones below the entry's version. Answers whether it does.
    """
    mine = registrations.get(entry.registration)
    if mine is None or mine.transactional_id != entry.deliverer:
        sentence = f"{entry.deliverer} had no accepted registration {entry.registration!r}"
    else:
        later = max(
            one.offset for one in registrations.values() if one.transactional_id == entry.deliverer
        )
        if later == mine.offset:
            return True
        sentence = f"{entry.deliverer} decided under a registration replaced at offset {later}"
    findings.add(
        FindingKind.LEDGER_UNREGISTERED,
        f"{sentence} below version {entry.version}",
        topic=topic,
        partition=entry.partition,
        offset=entry.offset,
        raw=RawPosition(entry.partition, entry.raw_from),
    )
    return False


def _entries(topic: str, number: int, partition: Partition, findings: Findings) -> Iterator[Entry]:
    for piece in partition.pieces():
        for record in piece:
            try:
                name, body = avro_reader.read(record.value)
            except (avro_reader.UnreadableError, avro_reader.UnknownFrameError) as error:
                problem = str(error)
            else:
                if name != "ledger_entry":
                    problem = f"a {name} stands in the ledger"
                elif body["partition"] != number:
                    problem = f"an entry of raw partition {body['partition']}"
                elif not _is_span(body):
                    problem = f"an entry from {body['raw_from']} to {body['raw_next']}"
                else:
                    yield _entry(record.offset, body, settled=partition.is_settled(record.offset))
                    continue
            findings.add(
                FindingKind.LEDGER_UNREADABLE,
                problem,
                topic=topic,
                partition=number,
                offset=record.offset,
            )


def _is_span(body: dict[str, Any]) -> bool:
    """Whether raw offsets go up; an entry that only ends waiting has none."""
    start, end = body["raw_from"], body["raw_next"]
    ends = body.get("decided_anew") or body.get("given_up")
    return 0 <= start < end or (0 <= start == end and bool(ends))


def _entry(offset: int, body: dict[str, Any], *, settled: bool) -> Entry:
    return Entry(
        offset,
        body["deliverer"],
        body["registration"],
        body["partition"],
        body["raw_from"],
        body["raw_next"],
        body["log_id"],
        body["version"],
        body["decided_at"],
        settled,
        body["label_position"],
        tuple(body.get("decided_anew", ())),
        tuple(body.get("given_up", ())),
        frozenset(body.get("not_held", ())),
        body.get("hold_ms"),
    )


def _check_start(
    topic: str,
    partition: Partition,
    raw: Topic,
    first: Entry,
    findings: Findings,
    notes: list[str],
) -> None:
    """The first entry starts where raw starts, unless earlier entries are gone or not asked for."""
    number = first.partition
    held = raw.partitions.get(number, Partition())
    if partition.begin > 0:
        notes.append(
            f"ledger partition {number} begins at offset {partition.begin} (retention): what was "
            f"decided about raw below {number}-{first.raw_from} is no longer recorded; not judged"
        )
        return
    if partition.start > 0 or max(held.begin, held.start) >= first.raw_from:
        return
    earliest = next((piece[0].offset for piece in held.pieces()), first.raw_from)
    if earliest < first.raw_from:
        findings.add(
            FindingKind.LEDGER_GAP,
            f"the first entry starts at {first.raw_from}, raw at {held.begin}",
            topic=topic,
            partition=number,
            offset=first.offset,
            raw=RawPosition(number, held.begin),
        )


def _check_labels(contents: Contents, entry: Entry, findings: Findings) -> None:
    """Nobody can have known labels beyond the end of their partition."""
    held = contents.labels.partitions.get(entry.partition, Partition())
    if entry.label_position > held.end:
        findings.add(
            FindingKind.LEDGER_FUTURE_LABELS,
            f"decided at label position {entry.label_position}; the labels end at {held.end}",
            topic=contents.ledger.name,
            partition=entry.partition,
            offset=entry.offset,
            raw=RawPosition(entry.partition, entry.raw_from),
        )


def _check_join(topic: str, before: Entry, entry: Entry, findings: Findings) -> None:
    problems = []
    if entry.raw_from > before.raw_next:
        problems.append(
            (FindingKind.LEDGER_GAP, f"no entry from {before.raw_next} to {entry.raw_from}")
        )
    if entry.raw_from < before.raw_next:
        problems.append(
            (
                FindingKind.LEDGER_OVERLAP,
                f"decided again from {entry.raw_from}, though decided up to {before.raw_next}",
            )
        )
    if entry.decided_at < before.decided_at:
        problems.append(
            (
                FindingKind.LEDGER_CLOCK_BACK,
                f"decided at {entry.decided_at}, after {before.decided_at}",
            )
        )
    if entry.version < before.version and entry.log_id == before.log_id:
        problems.append(
            (
                FindingKind.LEDGER_VERSION_BACK,
                f"decided with version {entry.version}, after {before.version}",
            )
        )
    if entry.label_position < before.label_position:
        problems.append(
            (
                FindingKind.LEDGER_LABELS_BACK,
                f"decided at label position {entry.label_position}, after {before.label_position}",
            )
        )
    for kind, sentence in problems:
        findings.add(
            kind,
            sentence,
            topic=topic,
            partition=entry.partition,
            offset=entry.offset,
            raw=RawPosition(entry.partition, entry.raw_from),
        )
