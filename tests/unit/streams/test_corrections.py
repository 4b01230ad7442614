"""A finding about a grant's past: judged as the page says, kept, and of no effect on any right."""

import pytest

from streams.rights import Rights
from tests.unit.streams.log_building import BEGIN_MS, MID, Log, correction_body, replayed


@pytest.fixture
def log() -> Log:
    log = Log()
    log.tenant("acme")
    log.grant("g1", "acme")
    return log


def test_a_correction_is_kept_with_both_times_and_changes_no_right(log):
    plan = log.rights.snapshot(0.0).plan(MID.encode(), 3, BEGIN_MS)
    applied = log.put("GRANT_CORRECTION", correction_body("c1", "g1", wrong_from=5, wrong_to=9))
    assert (applied.verdict, applied.restricting) == ("accepted", False)
    kept = log.rights.corrections["c1"]
    assert (kept.grant_id, kept.wrong_from, kept.wrong_to) == ("g1", 5, 9)
    assert (kept.known_at, kept.changed_at) == (BEGIN_MS, applied.offset)
    assert log.rights.snapshot(0.0).plan(MID.encode(), 3, BEGIN_MS) == plan
    assert log.rights.subjects["grant/g1"] < applied.offset, "the grant itself did not change"


def test_a_later_record_of_the_id_replaces_it_and_an_ended_grant_can_be_corrected(log):
    log.end("g1")
    log.put("GRANT_CORRECTION", correction_body("c1", "g1"))
    assert log.put("GRANT_CORRECTION", correction_body("c1", "g1", withdrawn=True)).verdict == (
        "accepted"
    )
    assert log.rights.corrections["c1"].withdrawn


@pytest.mark.parametrize(
    ("fields", "verdict"),
    [
        ({"correction_id": "no id"}, "void:invalid"),
        ({"wrong_from": 7, "wrong_to": 7}, "void:invalid"),
        ({"wrong_from": BEGIN_MS}, "void:invalid"),
        ({"grant_id": "g9"}, "void:unknown_reference"),
        ({"subject": "correction/other"}, "void:subject"),
        ({"base": 1}, "void:base"),
    ],
)
def test_what_is_void(log, fields, verdict):
    envelope = {name: fields.pop(name) for name in ("subject", "base") if name in fields}
    body = {**correction_body("c1", "g1"), **fields}
    assert log.put("GRANT_CORRECTION", body, **envelope).verdict == verdict
    assert not log.rights.corrections


def test_a_correction_stays_with_its_grant(log):
    log.grant("g2", "acme")
    log.put("GRANT_CORRECTION", correction_body("c1", "g1"))
    assert log.put("GRANT_CORRECTION", correction_body("c1", "g2")).verdict == "void:fixed"


def test_corrections_survive_a_dump(log):
    log.put("GRANT_CORRECTION", correction_body("c1", "g1"))
    loaded = Rights.load(log.rights.dump())
    assert dict(loaded.corrections) == dict(log.rights.corrections)
    assert dict(replayed(log.values).corrections) == dict(log.rights.corrections)
