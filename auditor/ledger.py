"""[core] Reads the decision ledger, and checks it against itself and the log.

Entries of one raw partition must join without gap or overlap; version and clock never go back;
every entry stands on an accepted registration below its version.

The ledger is read twice: `survey` checks it and learns how far it reaches, `in_order` hands out
the entries to be judged. Neither keeps more than an entry of each partition.
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from auditor import avro_reader
from auditor.contents import Contents, Partition, Share, Topic
from auditor.findings import FindingKind, Findings, RawPosition
from auditor.rights import Registration


@dataclass(frozen=True, slots=True)
class Entry:
    """A ledger entry, and where it stands.

    What a `settled` one led to must be readable in every topic that is read; what a later one led
    to can still lie beyond the end of it.
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


def survey(contents: Contents, share: Share, log_id: str, findings: Findings) -> Ledger:
    """Check every entry against the one before it in its partition."""
    ledger, topic = Ledger(), contents.ledger
    for number, partition in sorted(topic.partitions.items()):
        if not share.takes(number):
            continue
        before: Entry | None = None
        for entry in _entries(topic.name, number, partition, findings):
            if before is None:
                _check_start(topic.name, partition, contents.raw, entry, findings, ledger.notes)
                covered = ledger.covered[number] = Covered(entry.raw_from, 0, entry.raw_from)
            else:
                _check_join(topic.name, before, entry, findings)
            before = entry
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
                elif not 0 <= body["raw_from"] < body["raw_next"]:
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
    for kind, sentence in problems:
        findings.add(
            kind,
            sentence,
            topic=topic,
            partition=entry.partition,
            offset=entry.offset,
            raw=RawPosition(entry.partition, entry.raw_from),
        )
