"""Judging while events flow: what is not settled yet, or hidden, is no finding."""

from auditor.contents import Contents, Scope
from auditor.findings import FindingKind
from auditor.judge import Judgement
from auditor.report import Report
from tests.unit.auditor.world import (
    OWNED,
    clean,
    delivered,
    judge,
    raw_record,
    records,
    scan_value,
)

ACME, GLOBEX = "m.tenant.acme", "m.tenant.globex"


def _kinds(judgement: Judgement) -> dict[FindingKind, int]:
    return dict(judgement.findings.counts)


def test_what_later_entries_led_to_may_still_come() -> None:
    """Ends were taken while events flowed: only what the settled entries led to must stand."""
    world = clean()
    world.ledger.partitions[0].settled = 1
    del records(world, ACME)[2]
    assert _kinds(judge(world)) == {}
    held = records(world, GLOBEX)
    held[1] = held[1]._replace(key=b"other")
    assert _kinds(judge(world)) == {FindingKind.WRONG_KEY: 1}, "what does stand is judged"
    del records(world, ACME)[0]
    assert _kinds(judge(world)) == {FindingKind.WRONG_KEY: 1, FindingKind.MISSING: 1}


def test_raw_waits_for_its_decision_while_events_flow() -> None:
    """The report says how far it was judged."""
    world = clean()
    world.scope = Scope(at_rest=False)
    records(world, "m.raw", 1).append(raw_record(1, 3, scan_value(OWNED)))
    world.raw.partitions[1].end = 4
    judgement = judge(world)
    assert _kinds(judgement) == {}
    assert Report(judgement).as_json()["judged"]["1"] == {"to": 3, "raw_end": 4}


def test_what_an_open_transaction_may_hide_is_not_judged() -> None:
    """The open transaction is the finding; neither absent nor unexplained records are."""
    world = clean()
    del records(world, ACME)[2]
    world.tenants[ACME].partitions[0].high_watermark += 2
    _append_extra_beyond_the_ledger(world)
    world.ledger.partitions[1].high_watermark += 2
    judgement = judge(world)
    assert _kinds(judgement) == {FindingKind.OPEN_TRANSACTION: 2}
    assert len(Report(judgement).notes) == 2


def _append_extra_beyond_the_ledger(world: Contents) -> None:
    never = raw_record(1, 9, scan_value(OWNED))
    records(world, ACME).append(delivered(0, 4, never, "g-acme", OWNED))
