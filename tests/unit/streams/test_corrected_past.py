"""What was delivered and should not have been, and the reverse: one event, rights as they were."""

import pytest

from streams.corrected_past import Breach, compare, finding_at
from streams.decision import Event
from tests.unit.streams.log_building import BEGIN_MS, MID, Log, correction_body

EVENT = Event(MID, 3, BEGIN_MS, 1, None)


@pytest.fixture
def log() -> Log:
    log = Log()
    log.tenant("acme")
    return log


def found(log: Log, *, now_ms: int = BEGIN_MS, **finding: object):
    """The difference for the event, with one finding about g1 in the log."""
    rights = log.rights.snapshot(0.0)
    log.put("GRANT_CORRECTION", correction_body("c1", "g1", **finding))
    covering = finding_at(log.rights.corrections.values(), now_ms)
    if covering is None:
        return None
    grant = log.rights.grants["g1"]
    return compare(EVENT, now_ms, rights.candidates(MID), rights, grant, covering)


def test_what_only_the_wrong_grant_gave_was_delivered_wrongly(log):
    log.grant("g1", "acme", restricted=True)
    log.tenant("globex")
    log.grant("g2", "globex")
    assert found(log) == (Breach.DELIVERED_WRONGLY, True, "g1")


def test_another_right_of_the_tenant_makes_it_right(log):
    log.grant("g1", "acme")
    log.grant("g2", "acme")
    assert found(log) is None


def test_another_right_without_personal_data_leaves_those_wrong(log):
    log.grant("g1", "acme", restricted=True)
    log.grant("g2", "acme")
    assert found(log) == (Breach.PERSONAL_DATA_DELIVERED_WRONGLY, True, "g1")


@pytest.mark.parametrize(
    "fields",
    [
        {"effective_from": BEGIN_MS + 1},
        {"effective_to": BEGIN_MS},
        {"status": "PENDING"},
    ],
)
def test_a_grant_that_should_have_counted_was_not_delivered(log, fields):
    log.grant("g1", "acme", **fields)
    said = found(log, finding="SHOULD_HAVE_COUNTED")
    assert said == (Breach.NOT_DELIVERED, False, "g1")


def test_an_ended_grant_that_should_have_counted_was_not_delivered(log):
    log.grant("g1", "acme")
    log.end("g1")
    said = found(log, finding="SHOULD_HAVE_COUNTED")
    assert said == (Breach.NOT_DELIVERED, False, "g1")


def test_a_grant_that_should_have_counted_gives_nothing_where_all_else_forbids(log):
    log.grant("g1", "acme", effective_from=BEGIN_MS + 1)
    log.put("TERMS", {"tenant_id": "acme", "terms_version": "2", "accepted": False})
    assert found(log, finding="SHOULD_HAVE_COUNTED") is None


@pytest.mark.parametrize(("now_ms", "covered"), [(9, False), (10, True), (19, True), (20, False)])
def test_a_finding_covers_its_window_and_no_more(log, now_ms, covered):
    log.grant("g1", "acme")
    assert (found(log, now_ms=now_ms, wrong_from=10, wrong_to=20) is not None) is covered


def test_of_two_findings_the_later_one_counts(log):
    log.grant("g1", "acme")
    log.put("GRANT_CORRECTION", correction_body("c0", "g1"))
    assert found(log, finding="SHOULD_HAVE_COUNTED") is None, "it did count, as it should have"
