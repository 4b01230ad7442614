"""[core] Reads the decision ledger and checks it against itself and the log.

Entries of one raw partition must join without gap or overlap; version and clock never go back;
every entry stands on an accepted registration below its version.
"""

from dataclasses import dataclass, field
from itertools import pairwise

from auditor import avro_reader
from auditor.contents import Partition, Topic
from auditor.findings import FindingKind, Findings, RawPosition
from auditor.rights import Registration


@dataclass(frozen=True, slots=True)
class Entry:
    """A ledger entry, and where it stands."""

    offset: int
    deliverer: str
    registration: str
    partition: int
    raw_from: int
    raw_next: int
    log_id: str
    version: int
    decided_at: int


@dataclass(slots=True)
class Ledger:
    """Entries that may be judged by, and the raw offsets they cover, by raw partition."""

    entries: list[Entry] = field(default_factory=list)
    covered_from: dict[int, int] = field(default_factory=dict)
    covered_to: dict[int, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def read_ledger(topic: Topic, raw: Topic, log_id: str, findings: Findings) -> Ledger:
    """All entries of this log, each checked against the one before it in its partition."""
    ledger = Ledger()
    for number, partition in sorted(topic.partitions.items()):
        entries = _entries(topic.name, number, partition, findings)
        _check_start(topic.name, number, partition, raw, entries, findings, ledger.notes)
        for before, entry in pairwise(entries):
            _check_join(topic.name, before, entry, findings)
        if entries:
            ledger.covered_from[number] = entries[0].raw_from
            ledger.covered_to[number] = max(entry.raw_next for entry in entries)
        for entry in entries:
            if entry.log_id == log_id:
                ledger.entries.append(entry)
                continue
            findings.add(
                FindingKind.LEDGER_OTHER_LOG,
                f"decided by log {entry.log_id}, not by {log_id}",
                topic=topic.name,
                partition=number,
                offset=entry.offset,
                raw=RawPosition(number, entry.raw_from),
            )
    return ledger


def check_registration(
    topic: str, entry: Entry, registrations: dict[str, Registration], findings: Findings
) -> None:
    """An entry counts only under the last registration of its deliverer that its version saw.

    `registrations` are the accepted ones below the entry's version.
    """
    mine = registrations.get(entry.registration)
    if mine is None or mine.transactional_id != entry.deliverer:
        sentence = f"{entry.deliverer} had no accepted registration {entry.registration!r}"
    else:
        later = max(
            one.offset for one in registrations.values() if one.transactional_id == entry.deliverer
        )
        if later == mine.offset:
            return
        sentence = f"{entry.deliverer} decided under a registration replaced at offset {later}"
    findings.add(
        FindingKind.LEDGER_UNREGISTERED,
        f"{sentence} below version {entry.version}",
        topic=topic,
        partition=entry.partition,
        offset=entry.offset,
        raw=RawPosition(entry.partition, entry.raw_from),
    )


def _entries(topic: str, number: int, partition: Partition, findings: Findings) -> list[Entry]:
    entries = []
    for record in partition.records:
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
                entries.append(
                    Entry(
                        record.offset,
                        body["deliverer"],
                        body["registration"],
                        number,
                        body["raw_from"],
                        body["raw_next"],
                        body["log_id"],
                        body["version"],
                        body["decided_at"],
                    )
                )
                continue
        findings.add(
            FindingKind.LEDGER_UNREADABLE,
            problem,
            topic=topic,
            partition=number,
            offset=record.offset,
        )
    return entries


def _check_start(
    topic: str,
    number: int,
    partition: Partition,
    raw: Topic,
    entries: list[Entry],
    findings: Findings,
    notes: list[str],
) -> None:
    """The first entry starts where raw starts, unless retention took earlier entries."""
    held = raw.partitions.get(number, Partition())
    if not entries:
        return
    first = entries[0]
    if partition.begin > 0:
        notes.append(
            f"ledger partition {number} begins at offset {partition.begin} (retention): raw below "
            f"{number}-{first.raw_from} is not judged"
        )
        return
    if held.begin < first.raw_from and any(
        record.offset < first.raw_from for record in held.records
    ):
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
