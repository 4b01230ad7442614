"""[core] The judge: what every tenant topic and quarantine must hold, against what stands there.

Expected deliveries follow from raw, labels, authorization log and ledger alone. Each ledger entry
names the version, the label position and the clock reading its raw records were decided with; the
log is replayed up to that version, every record decided anew and compared with what stands next in
the topics. What does not stand in its turn is settled by a second look at its raw record.

Bound of memory, whatever the length of raw, ledger and tenant topics: the rights themselves (as in
any follower of the log, and 32 bytes a change), `PLANS_MAX` plans, `HELD_MAX` waiting deliveries,
one piece of each partition, the labels of `NUMBERS_REMEMBERED_MAX` numbers, `FINDINGS_KEPT_MAX`
findings. All else is on disk (auditor/spill.py).
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from auditor.contents import ALL, Contents, Share
from auditor.course import Course
from auditor.findings import FindingKind, Findings
from auditor.first_look import Excused, FirstLook, check_left_waiting, check_undecided
from auditor.holds import Holds, HoldStore
from auditor.labels import Labels, LabelStore
from auditor.ledger import Covered, Ledger, survey
from auditor.log import Replay, check_log
from auditor.placements import OpenPositions, SecondLook
from auditor.shelves import Census, Judged, Shelf, Spill
from auditor.structure import Tables
from auditor.tally import Tally


class Aside(Spill, OpenPositions, Protocol):
    """Where a judge sets aside what it cannot keep in memory."""

    @property
    def labels(self) -> LabelStore:
        """All labels."""
        ...

    @property
    def holds(self) -> HoldStore:
        """Events that wait or have waited for one."""
        ...


@dataclass(slots=True)
class Judgement:
    """Everything the judge found; nothing wrong was found if `findings.counts` is empty.

    `judged_to` is, by raw partition, the offset up to which it was decided and therefore judged;
    `left_out` counts what is no finding for a reason that `notes` say.
    """

    findings: Findings
    tally: Tally
    notes: list[str]
    log_id: str
    version: int
    chain: bytes
    verdicts: dict[str, int]
    judged_to: dict[int, int] = field(default_factory=dict)
    raw_end: dict[int, int] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)


def judge(
    contents: Contents,
    aside: Aside,
    share: Share = ALL,
    progress: Callable[[int], None] = lambda records: None,
    *,
    last: Replay | None = None,
) -> Judgement:
    """Compare what must stand in the topics with what does, for a share of the raw partitions.

    `progress` hears of raw records that are done. `last` is a replay of the log to its end, if
    there is one already; it is only looked at.
    """
    findings, tally = Findings(), Tally()
    if last is None:
        last = Replay(contents.log)
        last.advance(last.end, Findings())
    if share.first:
        last.say_stopped(findings)
        check_log(contents, last, findings)
        _check_open_transactions(contents, findings)
    tables = last.rights.tables
    ledger = survey(contents, share, last.rights.log_id, findings, aside.holds)
    labels = Labels(contents.labels, aside.labels, findings)
    holds = Holds(aside.holds, labels, findings, contents.ledger.name)
    census = Census(share, _judged(contents, ledger), findings, aside, holds)
    shelves = _shelves(contents, tables, census)
    excused = Excused()
    course = Course(contents, share, last, findings, tally, labels)
    first = FirstLook(contents, tables, shelves, aside, excused, progress, holds, census.judged)
    readers = first.compare(course)
    if contents.scope.at_rest:
        tally.raw += check_undecided(contents, ledger, readers, findings)
        check_left_waiting(contents, holds, findings)
    again = Course(contents, share, last, Findings(), Tally(), labels)
    second = SecondLook(contents, tables, findings, _kept_from(shelves, census), holds, census)
    second.settle(again, aside)
    _finish_tally(contents, tables, shelves, census, tally)
    return Judgement(
        findings,
        tally,
        ledger.notes,
        last.rights.log_id,
        last.rights.version,
        last.rights.chain,
        last.verdicts,
        {number: covered.raw_next for number, covered in ledger.covered.items()},
        {n: part.end for n, part in contents.raw.partitions.items() if share.takes(n)},
        _left_out(census, excused),
    )


def merged(judgements: list[Judgement]) -> Judgement:
    """The judgements of all shares of one installation as one."""
    whole, *others = judgements
    for other in others:
        whole.findings.take_in(other.findings)
        whole.tally.add(other.tally)
        whole.notes += other.notes
        whole.judged_to |= other.judged_to
        whole.raw_end |= other.raw_end
        whole.left_out.update(other.left_out)
    return whole


def _judged(contents: Contents, ledger: Ledger) -> dict[int, Judged]:
    judged = {}
    for number, partition in contents.ledger.partitions.items():
        covered = ledger.covered.get(number, Covered(0, 0, 0))
        # Below the first entry nothing was decided, unless earlier entries are gone or not read.
        start = covered.raw_from if partition.begin > 0 or partition.start > 0 else 0
        if number in contents.raw.partitions:
            held = contents.raw.partitions[number]
            start = max(start, held.begin, held.start)
        judged[number] = Judged(
            start, covered.raw_next, more=partition.high_watermark > partition.end
        )
    return judged


def _shelves(contents: Contents, tables: Tables, census: Census) -> dict[tuple[str, int], Shelf]:
    tenant_of = {body["topic"]: tenant for tenant, body in tables.tenants.items()}
    shelves = {}
    for topic in contents.tenants.values():
        for number, partition in sorted(topic.partitions.items()):
            shelves[topic.name, number] = Shelf(
                census,
                topic.name,
                number,
                partition,
                tenant=tenant_of.get(topic.name, ""),
            )
    if not contents.scope.tenant:
        topic = contents.quarantine
        for number, partition in sorted(topic.partitions.items()):
            shelves[topic.name, number] = Shelf(
                census,
                topic.name,
                number,
                partition,
                quarantine=True,
            )
    return shelves


def _kept_from(
    shelves: dict[tuple[str, int], Shelf], census: Census
) -> dict[tuple[str, int, int], int | None]:
    return {
        (topic, number, raw_partition): shelf.first_turn(raw_partition)
        for (topic, number), shelf in shelves.items()
        if shelf.partition.begin > 0
        for raw_partition in census.judged
    }


def _finish_tally(
    contents: Contents,
    tables: Tables,
    shelves: dict[tuple[str, int], Shelf],
    census: Census,
    tally: Tally,
) -> None:
    tenant_of = {body["topic"]: tenant for tenant, body in tables.tenants.items()}
    for (topic, _), shelf in shelves.items():
        if shelf.records and topic != contents.quarantine.name:
            tally.has[tenant_of.get(topic, topic)] += shelf.records
    tally.never_raw = census.never_raw
    # A tenant that gets nothing is listed, too.
    listed = [name for name in tables.tenants if contents.scope.tenant in ("", name)]
    tally.due.update(dict.fromkeys(listed, 0))


def _left_out(census: Census, excused: Excused) -> Counter[str]:
    """What was not judged, in the words of the report."""
    left_out: Counter[str] = Counter()
    if census.context:
        left_out["delivered records about raw that is no longer recorded or not asked for"] += (
            census.context
        )
    if census.behind:
        left_out[
            "delivered records whose entry may stand behind the ledger's open transaction"
        ] += census.behind
    for topic, count in excused.gone.items():
        left_out[f"records due in {topic} that are no longer recorded there"] += count
    for topic, count in excused.behind.items():
        left_out[f"records due in {topic} that may stand behind its open transaction"] += count
    return left_out


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
