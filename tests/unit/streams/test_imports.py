"""Imports: rows wait for their closing record and take effect all or nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams import imports
from streams.rights import Rights
from tests.unit.streams.log_building import MID, OTHER_MID, Log, replayed, simple_grant

IMPORT = bytes(range(16))
OTHER_IMPORT = bytes(16)
NOW_MS = 1_800_000_000_000


def allowed(rights: Rights, mid: str = MID) -> set[str]:
    plan = rights.snapshot(0.0).plan(mid.encode(), 3, NOW_MS)
    return {route.grant_id for route in plan.routes}


def body(number: int, tenant: str = "acme", **fields: object) -> dict[str, object]:
    return simple_grant(f"g{number}", tenant, **fields)


@pytest.fixture
def log() -> Log:
    log = Log()
    for tenant in ("acme", "globex"):
        log.tenant(tenant)
    return log


def test_rows_take_effect_at_the_closing_record_and_not_before(log):
    ids = log.stage(IMPORT, [body(1), body(2, "globex")])
    assert allowed(log.rights) == set()
    assert "grant/g1" not in log.rights.subjects
    closed = log.close(IMPORT, ids)
    assert (closed.verdict, closed.restricting) == ("accepted", False)
    assert allowed(log.rights) == {"g1", "g2"}
    assert log.rights.subjects["grant/g1"] == closed.offset


@pytest.mark.parametrize(
    ("wrong", "verdict"),
    [
        ({"rows": 3}, "void:import_count"),
        ({"digest": b""}, "void:import_digest"),
        ({"rows": 3, "digest": b""}, "void:import_count"),
    ],
)
def test_a_wrong_count_or_digest_voids_all_of_it(log, wrong, verdict):
    ids = log.stage(IMPORT, [body(1), body(2)])
    assert log.close(IMPORT, ids, **wrong).verdict == verdict
    assert allowed(log.rights) == set()
    assert log.close(IMPORT, ids).verdict == "void:import_count", "after a close it is gone"


def test_a_wrong_subject_closes_nothing(log):
    ids = log.stage(IMPORT, [body(1)])
    assert log.close(IMPORT, ids, subject="import/0").verdict == "void:subject"
    assert log.close(IMPORT, ids, import_id=None).verdict == "void:subject"
    assert log.close(IMPORT, ids).verdict == "accepted"


@pytest.mark.parametrize(
    "bad",
    [
        body(9, "nobody"),
        body(9, mid="1"),
        body(0),  # ended
        body(1),  # twice in the import: the second row's base is not the closing record's offset
        body(9, basis="IP_AGREEMENT", agreement_id="A1"),
    ],
)
def test_one_bad_row_voids_all_of_it(log, bad):
    log.end("g0")
    before = log.rights.dump()
    ids = log.stage(IMPORT, [body(1), bad, body(2)])
    assert log.close(IMPORT, ids).verdict == "void:import_row"
    assert allowed(log.rights) == set()
    assert dict(log.rights.grants) == {}
    assert len(before) < len(log.rights.dump()), "only change ids are remembered"


def test_a_row_with_a_wrong_subject_voids_it(log):
    ids = log.stage(IMPORT, [body(1)], subject="grant/other", base=-1)
    assert log.close(IMPORT, ids).verdict == "void:import_row"


def test_an_end_between_row_and_close_voids_the_import(log):
    """An ended id is terminal for staged records, too."""
    ids = log.stage(IMPORT, [body(1), body(2)])
    log.end("g1")
    assert log.close(IMPORT, ids).verdict == "void:import_row"
    assert allowed(log.rights) == set()


def test_a_later_row_may_build_on_the_closing_offset(log):
    """The second row of an id is judged on the state that the first one left."""
    close_offset = log.rights.version + 2
    ids = log.stage(IMPORT, [body(1)]) + log.stage(
        IMPORT, [body(1, channels=["API"])], base=close_offset
    )
    closed = log.close(IMPORT, ids)
    assert (closed.verdict, closed.offset) == ("accepted", close_offset)
    assert closed.restricting, "the second row takes channels away"
    assert log.rights.grants["g1"].channels == ("API",)


def test_a_restricting_row_makes_the_close_restricting(log):
    log.grant("g1", "acme")
    ids = log.stage(IMPORT, [body(1, status="PENDING")], restricting=False)
    assert log.close(IMPORT, ids, restricting=False).restricting
    ids = log.stage(IMPORT, [body(2)], restricting=True)
    assert log.close(IMPORT, ids, restricting=False).restricting


def test_a_repeated_row_is_not_staged_again(log):
    value = log.change("GRANT", body(1), import_id=IMPORT)
    change_id = value[5:21]
    assert [log.append(value).verdict for _ in range(2)] == ["staged", "repeat"]
    assert log.close(IMPORT, [change_id]).verdict == "accepted"


def test_only_grants_can_be_imported(log):
    assert log.put("GRANT_END", {"grant_id": "g1"}, import_id=IMPORT).verdict == (
        "void:not_importable"
    )
    assert not log.rights.grant_ended("g1")


@pytest.mark.parametrize(("ms", "verdict"), [(600_000, "accepted"), (600_001, "void:import_late")])
def test_a_close_must_come_within_ten_minutes(log, ms, verdict):
    ids = log.stage(IMPORT, [body(1)])
    log.now_ms += ms
    assert log.close(IMPORT, ids).verdict == verdict


@pytest.mark.parametrize("between", ["grant", "malformed", "repeat", "heartbeat"])
def test_a_late_import_is_dropped_by_any_record_but_a_heartbeat(log, between):
    ids = log.stage(IMPORT, [body(1)])
    log.now_ms += 600_001
    {
        "grant": lambda: log.grant("g9", "acme"),
        "malformed": lambda: log.append(None),
        "repeat": lambda: log.append(log.values[2][2]),
        "heartbeat": lambda: log.put("HEARTBEAT", {"nonce": "n"}),
    }[between]()
    late = between == "heartbeat"
    assert log.close(IMPORT, ids).verdict == f"void:import_{'late' if late else 'count'}"


def test_a_void_close_keeps_its_own_late_import_until_the_next_record(log):
    ids = log.stage(IMPORT, [body(1)])
    log.now_ms += 600_001
    assert log.close(IMPORT, ids, subject="import/0").verdict == "void:subject"
    assert log.close(IMPORT, ids).verdict == "void:import_late"


def test_a_row_staged_late_drops_the_old_rows_and_begins_anew(log):
    log.stage(IMPORT, [body(1)])
    log.now_ms += 600_001
    ids = log.stage(IMPORT, [body(2)])
    assert log.close(IMPORT, ids).verdict == "accepted"
    assert allowed(log.rights) == {"g2"}


def test_two_imports_do_not_mix(log):
    first = log.stage(IMPORT, [body(1)])
    second = log.stage(OTHER_IMPORT, [body(2, mid=OTHER_MID)])
    assert log.close(OTHER_IMPORT, second).verdict == "accepted"
    assert (allowed(log.rights), allowed(log.rights, OTHER_MID)) == (set(), {"g2"})
    assert log.close(IMPORT, first).verdict == "accepted"


def test_an_import_has_a_bound(log, monkeypatch):
    monkeypatch.setattr(imports, "IMPORT_ROWS_MAX", 2)
    ids = log.stage(IMPORT, [body(1), body(2)])
    third = log.put("GRANT", body(3), import_id=IMPORT)
    assert third.verdict == "void:import_too_long"
    assert log.close(IMPORT, ids).verdict == "accepted"


def test_an_open_import_is_part_of_a_dump(log):
    ids = log.stage(IMPORT, [body(1), body(2, "nobody")][:1])
    log.rights = Rights.load(log.rights.dump())
    assert log.close(IMPORT, ids).verdict == "accepted"
    assert replayed(log.values).chain == log.rights.chain


ROWS = st.lists(
    st.builds(
        body,
        st.integers(1, 6),
        st.sampled_from(["acme", "globex", "nobody"]),
        mid=st.sampled_from([MID, OTHER_MID, "1"]),
        channels=st.sampled_from([["API"], ["SEE", "API"], []]),
    ),
    max_size=6,
)


@given(ROWS)
def test_an_import_equals_its_rows_applied_singly(rows):
    """All or nothing: accepted exactly when each row alone, in order, would be accepted, and then
    with the same grants. A second row of one id can only build on the closing record's offset, so
    it is given the base that it would have in either case."""
    one_by_one, at_once = Log(), Log()
    for log in (one_by_one, at_once):
        log.tenant("acme")
        log.tenant("globex")
    close_offset = at_once.rights.version + len(rows)
    seen: set[object] = set()
    ids = []
    for row in rows:
        base = close_offset if row["grant_id"] in seen else -1
        ids += at_once.stage(IMPORT, [row], base=base)
        seen.add(row["grant_id"])
    verdicts = [one_by_one.put("GRANT", row).verdict for row in rows]
    closed = at_once.close(IMPORT, ids)
    assert (closed.verdict == "accepted") == (rows != [] and set(verdicts) == {"accepted"})
    expected = one_by_one.rights.grants if closed.verdict == "accepted" else {}
    assert {key: grant._replace(changed_at=0) for key, grant in at_once.rights.grants.items()} == {
        key: grant._replace(changed_at=0) for key, grant in expected.items()
    }
