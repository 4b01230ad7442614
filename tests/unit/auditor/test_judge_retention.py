"""What retention has taken is named as no longer recorded, and is no finding."""

from auditor.findings import FindingKind
from auditor.judge import Judgement
from auditor.report import Report
from tests.unit.auditor.world import clean, judge, records

ACME = "m.tenant.acme"


def _kinds(judgement: Judgement) -> dict[FindingKind, int]:
    return dict(judgement.findings.counts)


def test_what_retention_took_from_the_ledger_is_not_judged_and_said() -> None:
    """Ledger and raw start at different points; the later one counts."""
    world = clean()
    del records(world, "m.ledger")[0]
    world.ledger.partitions[0].begin = 1
    judgement = judge(world)
    assert _kinds(judgement) == {}
    assert judgement.tally.decided == 4
    assert any("not judged" in note for note in judgement.notes)


def test_what_retention_took_from_raw_is_not_judged_and_said() -> None:
    """Deliveries outlive their raw records."""
    world = clean()
    del records(world, "m.raw")[0]
    world.raw.partitions[0].begin = 1
    judgement = judge(world)
    assert _kinds(judgement) == {}
    assert any("no longer recorded" in note for note in Report(judgement).notes)


def test_what_retention_took_from_a_tenant_topic_is_excused_up_to_its_beginning() -> None:
    """One offset is gone, so one record can be excused; a hole further on cannot."""
    world = clean()
    del records(world, ACME)[0]
    world.tenants[ACME].partitions[0].begin = 1
    judgement = judge(world)
    assert _kinds(judgement) == {}
    assert Report(judgement).notes == [
        f"1 records due in {ACME} that are no longer recorded there; not judged"
    ]
    records(world, ACME).clear()
    assert _kinds(judge(world)) == {FindingKind.MISSING: 2}
