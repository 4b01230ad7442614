"""Labels, and events that wait for one: every kind of finding, and what is none."""

from collections.abc import Callable

import pytest

from auditor.contents import Contents, Scope
from auditor.findings import FindingKind
from auditor.judge import Judgement
from auditor.labels import read_history
from tests.unit.auditor.label_world import gives_up, label, label_record, labelled
from tests.unit.auditor.world import (
    LABEL_NEEDED,
    NOW,
    RAW,
    delivered,
    judge,
    ledger_record,
    ledger_value,
    records,
)

ACME, GLOBEX, LEDGER, LABELS = "m.tenant.acme", "m.tenant.globex", "m.ledger", "m.labels"
UNKNOWN_FRAME = b"\0\0\0\1\0"


def _labels_back(world: Contents) -> None:
    records(world, LEDGER, 1)[2] = ledger_record(1, 4, gives_up(label_position=-1))


def _future_labels(world: Contents) -> None:
    records(world, LEDGER, 1)[2] = ledger_record(1, 4, gives_up(label_position=1))


def _labels_stopped(world: Contents) -> None:
    held = records(world, LABELS)
    held[1] = held[1]._replace(key=b"94", value=UNKNOWN_FRAME)
    at = {"decided_at": NOW + 10, "label_position": 2}
    value = ledger_value(0, 2, 4, decided_anew=[1], hold_ms=9, **at)
    records(world, LEDGER)[1] = ledger_record(0, 2, value)


def _not_waiting(world: Contents) -> None:
    records(world, LEDGER, 1)[2] = ledger_record(1, 4, gives_up(given_up=[3, 4]))


def _still_needed(world: Contents) -> None:
    value = gives_up(given_up=[], decided_anew=[3])
    records(world, LEDGER, 1)[2] = ledger_record(1, 4, value)


def _given_up_early(world: Contents) -> None:
    records(world, LEDGER, 1)[2] = ledger_record(1, 4, gives_up(decided_at=NOW + 9_999))


def _overtaken(world: Contents) -> None:
    at = {"decided_at": NOW + 10, "label_position": 1}
    records(world, LEDGER)[1] = ledger_record(0, 2, ledger_value(0, 2, 4, **at))
    del records(world, ACME)[2], records(world, GLOBEX)[1]


def _not_needed(world: Contents) -> None:
    value = ledger_value(1, 0, 3, label_position=0, not_held=[0], hold_ms=10_000)
    records(world, LEDGER, 1)[0] = ledger_record(1, 0, value)


LABEL_SPOILERS: dict[FindingKind, Callable[[Contents], None]] = {
    FindingKind.LEDGER_LABELS_BACK: _labels_back,
    FindingKind.LEDGER_FUTURE_LABELS: _future_labels,
    FindingKind.LABELS_STOPPED: _labels_stopped,
    FindingKind.HOLD_NOT_WAITING: _not_waiting,
    FindingKind.HOLD_STILL_NEEDED: _still_needed,
    FindingKind.HOLD_GIVEN_UP: _given_up_early,
    FindingKind.HOLD_OVERTAKEN: _overtaken,
    FindingKind.HOLD_NOT_NEEDED: _not_needed,
}


def _kinds(judgement: Judgement) -> dict[FindingKind, int]:
    return dict(judgement.findings.counts)


def test_a_clean_installation_with_labels_has_no_finding() -> None:
    """What waited counts by what became of it."""
    judgement = judge(labelled())
    assert _kinds(judgement) == {}, judgement.findings.kept
    assert judgement.tally.due == judgement.tally.has == {"acme": 4, "globex": 4}
    assert judgement.tally.withheld == {"label_needed": 2, "no_grant": 1}
    assert (judgement.tally.decided, judgement.tally.held) == (8, 0)


@pytest.mark.parametrize("kind", list(LABEL_SPOILERS))
def test_each_fault_is_found_once_and_as_nothing_else(kind: FindingKind) -> None:
    """About the raw record that waited, in the entry that is wrong."""
    world = labelled()
    LABEL_SPOILERS[kind](world)
    assert _kinds(judge(world)) == {kind: 1}, judge(world).findings.kept


def test_given_up_though_its_label_is_known() -> None:
    world = labelled()
    records(world, LABELS, 1).append(label_record(1, 0, LABEL_NEEDED, label("l9")))
    world.labels.partitions[1].end = 1
    records(world, LEDGER, 1)[2] = ledger_record(1, 4, gives_up(label_position=1))
    judgement = judge(world)
    assert _kinds(judgement) == {FindingKind.HOLD_GIVEN_UP: 1}
    assert "its label is known" in judgement.findings.kept[0].sentence


def test_an_entry_that_does_not_say_how_long_its_events_wait_asks_the_least_that_is_told() -> None:
    """Version 1: the setting may have changed since."""
    world = labelled()
    records(world, LEDGER, 1)[1] = ledger_record(1, 2, ledger_value(1, 3, 5, label_position=0))
    records(world, LEDGER, 1)[2] = ledger_record(1, 4, gives_up(given_up=[3, 4]))
    assert _kinds(judge(world)) == {}
    early = gives_up(given_up=[3, 4], decided_at=NOW + 9_999)
    records(world, LEDGER, 1)[2] = ledger_record(1, 4, early)
    assert _kinds(judge(world)) == {FindingKind.HOLD_GIVEN_UP: 2}


def test_released_before_its_span_or_twice_is_no_release() -> None:
    """It did not wait then: nothing is due by it, and what stands is undue."""
    world = labelled()
    first, second = records(world, LEDGER)
    records(world, LEDGER)[0] = first._replace(
        value=ledger_value(0, 0, 2, label_position=0, decided_anew=[1], hold_ms=9)
    )
    assert _kinds(judge(world)) == {FindingKind.HOLD_NOT_WAITING: 1}
    records(world, LEDGER)[0] = first
    again = ledger_value(0, 2, 4, decided_at=NOW + 10, label_position=1,
                         decided_anew=[1, 1], hold_ms=9)  # fmt: skip
    records(world, LEDGER)[1] = second._replace(value=again)
    assert _kinds(judge(world)) == {FindingKind.HOLD_NOT_WAITING: 1}


def test_what_is_covered_and_still_waits_at_rest_is_undecided() -> None:
    """While events flow it is lag."""
    world = labelled()
    del records(world, LEDGER, 1)[2]
    assert _kinds(judge(world)) == {}
    assert judge(world).tally.held == 1
    records(world, LABELS, 1).append(label_record(1, 0, LABEL_NEEDED, label("l9")))
    world.labels.partitions[1].end = 1
    assert _kinds(judge(world)) == {FindingKind.UNDECIDED: 1}
    world.scope = Scope(at_rest=False)
    assert _kinds(judge(world)) == {}


def test_what_an_entry_behind_an_open_transaction_may_have_released_is_not_judged() -> None:
    """The delivery of an event that still waits, while the ledger cannot be read to its end."""
    world = labelled()
    del records(world, LEDGER, 1)[2]
    world.ledger.partitions[1].high_watermark += 2
    raw = RAW[1][0]._replace(offset=3, timestamp=RAW[1][0].timestamp + 3)
    late = delivered(0, 9, raw, "g-acme", LABEL_NEEDED, named_by=b"0:l9")
    records(world, ACME).append(late)
    assert _kinds(judge(world)) == {FindingKind.OPEN_TRANSACTION: 1}
    world.ledger.partitions[1].high_watermark -= 2
    assert _kinds(judge(world)) == {FindingKind.WRONG_TENANT: 1}


def test_a_label_out_of_bounds_or_under_another_key_has_no_effect() -> None:
    """An instant of the year 1 to 9999, a whole record, and its own PIC."""
    good = label_record(0, 0, LABEL_NEEDED, label("l0"))
    history = read_history(LABEL_NEEDED, good.value)
    assert history is not None
    assert [one.label_id for one in history] == ["l0"]
    assert read_history(LABEL_NEEDED, None) == []
    assert read_history("94", good.value) is None
    assert read_history(LABEL_NEEDED, (good.value or b"") + b"\0") is None
    for field in ("generated_at", "valid_from", "valid_to", "mailing_date"):
        wrong = label_record(0, 0, LABEL_NEEDED, label("l0"), label("l1", **{field: 1 << 30 << 20}
                             if field != "mailing_date" else {field: 2_932_897}))  # fmt: skip
        assert read_history(LABEL_NEEDED, wrong.value) is None, field
