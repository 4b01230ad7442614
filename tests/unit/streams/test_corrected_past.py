"""What was delivered and should not have been, and the reverse: one event, rights as they were."""

import pytest

from streams.corrected_past import Breach, compare, finding_at, waits_for_label
from streams.decision import Event
from tests.unit.streams.log_building import BEGIN_MS, MID, Log, correction_body, token_body

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


def test_an_event_that_did_not_wait_for_the_tenant_was_not_delivered_wrongly(log):
    log.grant("g1", "acme")
    rights = log.rights.snapshot(0.0)
    log.put("GRANT_CORRECTION", correction_body("c1", "g1"))
    [finding] = log.rights.corrections.values()
    asked = (EVENT, BEGIN_MS, rights.candidates(MID), rights, log.rights.grants["g1"], finding)
    assert compare(*asked, waited=True) is not None
    assert compare(*asked, waited=False) is None


def by_token(log: Log, grant_id: str, **fields: object) -> None:
    fields = {"basis": "MERCHANT_TOKEN", "merchant_token_id": "T1", "channels": ["API"], **fields}
    log.grant(grant_id, "shop", **fields)


@pytest.fixture
def shop() -> Log:
    log = Log()
    log.tenant("shop", "PLATFORM")
    log.put("MERCHANT_TOKEN", token_body("T1", "shop"))
    return log


def waiting(log: Log, **finding: object) -> tuple[bool, bool]:
    rights = log.rights.snapshot(0.0)
    log.put("GRANT_CORRECTION", correction_body("c1", "g1", **finding))
    covering = finding_at(log.rights.corrections.values(), BEGIN_MS)
    event = EVENT._replace(channel=1)
    candidates = rights.candidates(MID)
    return waits_for_label(event, BEGIN_MS, candidates, rights, log.rights.grants["g1"], covering)


def test_a_tenant_waits_under_the_wrong_grant_alone(shop):
    by_token(shop, "g1")
    assert waiting(shop) == (True, False)


def test_another_token_would_have_waited_too(shop):
    by_token(shop, "g1")
    by_token(shop, "g2")
    assert waiting(shop) == (True, True)


def test_a_token_grant_that_should_have_counted_would_have_waited(shop):
    by_token(shop, "g1", status="PENDING")
    assert waiting(shop, finding="SHOULD_HAVE_COUNTED") == (False, True)


def test_without_a_finding_it_should_have_been_as_it_was(shop):
    by_token(shop, "g1")
    assert waiting(shop, wrong_from=BEGIN_MS + 1, known_at=BEGIN_MS + 2) == (True, True)


def test_nobody_waits_under_a_grant_without_a_token(shop):
    by_token(shop, "g1", merchant_token_id="")
    assert waiting(shop) == (False, False)
