"""[core] The judge: what every tenant topic and quarantine must hold, against what stands there.

Expected deliveries follow from raw, authorization log and ledger alone. Each ledger entry names
the version and the clock reading its raw records were decided with; the log is replayed up to
that version, every record decided anew, and what stands in the topics for it is taken off a list.
Whatever is left on the list at the end should not be there.
"""

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field

from auditor.contents import Contents, Partition, Record
from auditor.entitlement import Candidates
from auditor.expected import Decider, Outcome
from auditor.findings import FindingKind, Findings, RawPosition
from auditor.ledger import Entry, Ledger, check_registration, read_ledger
from auditor.log import Replay, check_log
from auditor.placements import Placements


@dataclass(slots=True)
class Tally:
    """Counts for people."""

    raw: int = 0
    decided: int = 0
    due: Counter[str] = field(default_factory=Counter)
    has: Counter[str] = field(default_factory=Counter)
    denied: dict[str, Counter[str]] = field(default_factory=dict)
    withheld: Counter[str] = field(default_factory=Counter)
    quarantined: Counter[str] = field(default_factory=Counter)
    never_raw: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class Judgement:
    """Everything the judge found; nothing wrong was found if `findings.counts` is empty."""

    findings: Findings
    tally: Tally
    notes: list[str]
    log_id: str
    version: int
    chain: bytes
    verdicts: dict[str, int]


def judge(contents: Contents) -> Judgement:
    """Compare what must stand in the topics with what does."""
    findings, tally = Findings(), Tally()
    last = Replay(contents.log)
    last.advance(last.end, findings)
    check_log(contents, last, findings)
    _check_open_transactions(contents, findings)
    ledger = read_ledger(contents.ledger, contents.raw, last.rights.log_id, findings)
    placements = Placements.of(contents, last.rights.tables, findings)
    unjudged = _judge_entries(contents, ledger, last, placements, findings, tally)
    _check_undecided(contents, ledger, findings)
    left = placements.leave_over(contents.raw, ledger, unjudged, findings)
    if left:
        ledger.notes.append(f"{left} records are about raw that retention has taken; not judged")
    ledger.notes += placements.excuses()
    # A tenant that gets nothing is listed, too.
    tally.due.update(dict.fromkeys(last.rights.tables.tenants, 0))
    tally.raw = sum(len(part.records) for part in contents.raw.partitions.values())
    tally.has = placements.tenant_records
    tally.never_raw = placements.never_raw
    return Judgement(
        findings,
        tally,
        ledger.notes,
        last.rights.log_id,
        last.rights.version,
        last.rights.chain,
        last.verdicts,
    )


def _judge_entries(
    contents: Contents,
    ledger: Ledger,
    last: Replay,
    placements: Placements,
    findings: Findings,
    tally: Tally,
) -> list[Entry]:
    """Decide every covered raw record anew, in the order of the versions.

    Answers the entries that no rights can be found for.
    """
    replay, candidates, unjudged = Replay(contents.log), Candidates(), []
    candidates_at = -1
    done: set[RawPosition] = set()
    silent = Findings()  # the log's own problems were found by the replay to the end
    for entry in sorted(ledger.entries, key=lambda one: (one.version, one.partition, one.offset)):
        reached = entry.version <= last.end and replay.advance(entry.version, silent)
        if not reached:
            unjudged.append(entry)
            findings.add(
                FindingKind.LEDGER_FUTURE_VERSION,
                f"decided with version {entry.version}; the log can be applied up to "
                f"{last.rights.version}",
                topic=contents.ledger.name,
                partition=entry.partition,
                offset=entry.offset,
                raw=RawPosition(entry.partition, entry.raw_from),
            )
            continue
        check_registration(contents.ledger.name, entry, replay.rights.registrations, findings)
        if candidates_at != entry.version:
            candidates.refresh(replay.rights.tables)
            candidates_at = entry.version
        decider = Decider(
            candidates, contents.app_id, entry.log_id, entry.version, entry.decided_at
        )
        for record in _covered(contents, entry):
            position = RawPosition(record.partition, record.offset)
            if position in done:
                continue  # an overlap, found already; the first decision is the one that counts
            done.add(position)
            outcome = decider.outcome(record)
            _count(tally, outcome)
            placements.compare(record, outcome, findings)
    tally.decided = len(done)
    return unjudged


def _covered(contents: Contents, entry: Entry) -> list[Record]:
    records = contents.raw.partitions.get(entry.partition, Partition()).records
    first = bisect_left(records, entry.raw_from, key=lambda record: record.offset)
    after = bisect_left(records, entry.raw_next, key=lambda record: record.offset)
    return records[first:after]


def _count(tally: Tally, outcome: Outcome) -> None:
    tally.due.update(outcome.due.keys())
    for tenant, reason in outcome.denied.items():
        tally.denied.setdefault(tenant, Counter())[reason.value] += 1
    if outcome.withheld is not None:
        tally.withheld[outcome.withheld.value] += 1
    if outcome.quarantined is not None:
        tally.quarantined[outcome.quarantined.value] += 1


def _check_undecided(contents: Contents, ledger: Ledger, findings: Findings) -> None:
    """Raw beyond the ledger: one finding a partition, as it is one fact."""
    for number, partition in sorted(contents.raw.partitions.items()):
        decided_to = ledger.covered_to.get(number, 0)
        beyond = [record for record in partition.records if record.offset >= decided_to]
        if beyond:
            findings.add(
                FindingKind.UNDECIDED,
                f"{len(beyond)} raw records from {number}-{beyond[0].offset} on have no ledger "
                "entry",
                topic=contents.raw.name,
                partition=number,
                offset=beyond[0].offset,
                raw=RawPosition(number, beyond[0].offset),
            )


def _check_open_transactions(contents: Contents, findings: Findings) -> None:
    for topic in contents.all_topics():
        for number, partition in sorted(topic.partitions.items()):
            if partition.high_watermark > partition.end:
                findings.add(
                    FindingKind.OPEN_TRANSACTION,
                    f"a transaction is open: nothing from offset {partition.end} to "
                    f"{partition.high_watermark} could be read",
                    topic=topic.name,
                    partition=number,
                    offset=partition.end,
                )
