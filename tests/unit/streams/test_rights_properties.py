"""What must hold for any log at all.

Method: hypothesis draws whole logs over few ids (`drawn_logs`). Rights are compared by what they
decide for every MID, channel and instant, and by their dumps.
"""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.reasons import Reason
from streams import rights_state
from streams.errors import UpgradeNeededError, WrongLogError
from streams.rights import Rights, RightsSnapshot
from streams.sharded_map import ShardedMap
from tests.unit.streams.drawn_logs import (
    HAPPENED,
    MIDS,
    NOWS,
    STEPS,
    DrawnLog,
    Happened,
    Key,
    Step,
    asked_of,
    decided,
    decisions,
    grants,
    label_of,
)
from tests.unit.streams.log_building import replayed, simple_grant, token_body
from tests.unit.streams.naive_model import Answer, answers

# Drawing a log takes most of the time, and the machine may be busy.
PATIENT = settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))


def granted(rights: RightsSnapshot) -> set[tuple[str, bool, Key]]:
    """Every right there is: tenant, cut or not, and MID, channel, instant, event."""
    return {
        (one.tenant_id, uncut, key)
        for key, decision in decided(rights).items()
        for one in decision.tenants
        if one.reason is Reason.ALLOWED
        for uncut in {False, one.restricted}
    }


def planned(
    rights: RightsSnapshot, mid: str, channel: int, now: int, happened: Happened
) -> tuple[str, set[str]]:
    plan = rights.plan(mid.encode(), channel, now)
    routes, reason, _ = plan.for_event(happened[0], happened[1], label_of(mid, happened))
    if not plan.per_event:
        assert (plan.routes, plan.reason) == (routes, reason)
    else:
        assert plan.routes == ()
    return reason.value, {f"{route.tenant_id} {route.grant_id}" for route in routes}


def fresh(rights: RightsSnapshot) -> dict[Key, tuple[str, set[str]]]:
    """What `planned` must be, from decisions that remember nothing."""
    return {
        key: (
            reason,
            {
                f"{tenant} {said.removeprefix('allowed:')}"
                for tenant, said in tenants
                if said.startswith("allowed:")
            },
        )
        for key, (reason, tenants) in decisions(rights).items()
    }


@PATIENT
@given(
    STEPS,
    st.lists(
        st.tuples(
            st.sampled_from(MIDS),
            st.integers(0, 3),
            st.sampled_from(NOWS),
            st.sampled_from(HAPPENED),
        )
    ),
)
def test_a_remembered_plan_is_a_fresh_decision_at_any_instant(steps, asked):
    """Asked in any order, before and after changes: so plans are made, carried over, forgotten."""
    log = DrawnLog()
    for at, step in enumerate([*steps, None]):
        rights = log.rights.snapshot(0.0)
        if at % 3 == 0:
            expected = fresh(rights)
            for mid, channel, now, happened in asked:
                assert (
                    planned(rights, mid, channel, now, happened)
                    == expected[mid, channel, now, happened]
                )
        if step is not None:
            log.take(step)
    rights = log.rights.snapshot(0.0)
    for key, expected_plan in fresh(rights).items():
        assert planned(rights, *key) == expected_plan


@PATIENT
@given(STEPS, STEPS)
def test_a_snapshot_never_changes(before, after):
    """Not by later changes, nor by plans that other snapshots make in the shards they share."""
    log = DrawnLog()
    for step in before:
        log.take(step)
    early = log.rights.snapshot(1.0)
    expected = fresh(early)
    for step in after:
        log.take(step)
        late = log.rights.snapshot(2.0)
        for mid in MIDS:
            late.plan(mid.encode(), 3, 5)
    assert fresh(early) == expected
    for key, plan in expected.items():
        assert planned(early, *key) == plan
    assert (early.version, early.confirmed_at) == (early.version, 1.0)


@PATIENT
@given(STEPS, STEPS)
def test_what_does_not_restrict_takes_no_right_from_anybody(before, after):
    log = DrawnLog()
    for step in before:
        log.take(step)
    rights = granted(log.rights.snapshot(0.0))
    for step in after:
        applied = log.take(Step(**{**step.__dict__, "again": False}))
        now = granted(log.rights.snapshot(0.0))
        if not applied.restricting:
            assert rights <= now, applied
        rights = now


@PATIENT
@given(STEPS, STEPS)
def test_an_ended_grant_never_allows_again(before, after):
    log = DrawnLog()
    for step in before:
        log.take(step)
    log.end("g0")
    for step in after:
        log.take(step)
        for key, (_, tenants) in decisions(log.rights.snapshot(0.0)).items():
            assert all(said != "allowed:g0" for _, said in tenants), key


@PATIENT
@given(STEPS, STEPS)
def test_a_loaded_dump_is_the_rights_it_was_taken_from(before, after):
    """The same decisions, and the same verdicts and running hash for whatever comes."""
    log = DrawnLog()
    for step in before:
        log.take(step)
    loaded = Rights.load(log.rights.dump())
    assert (loaded.version, loaded.chain, loaded.log_id, loaded.layout) == (
        log.rights.version,
        log.rights.chain,
        log.rights.log_id,
        log.rights.layout,
    )
    for name in ("tenants", "grants", "agreements", "crids", "terms", "deliverers", "subjects"):
        assert dict(getattr(loaded, name)) == dict(getattr(log.rights, name)), name
    assert decisions(loaded.snapshot(0.0)) == decisions(log.rights.snapshot(0.0))
    known = len(log.values)
    for step in after:
        log.take(step)
    for offset, timestamp_ms, value in log.values[known:]:
        loaded.apply(offset, timestamp_ms, value)
    assert loaded.chain == log.rights.chain
    assert decisions(loaded.snapshot(0.0)) == decisions(log.rights.snapshot(0.0))


@PATIENT
@given(STEPS, st.data())
def test_spoiled_bytes_never_raise_anything_but_stop(steps, data):
    """A foreign or broken record is void, or stops the follower by name; nothing else happens."""
    log = DrawnLog()
    for step in steps:
        log.take(step)
    values = [value for _, _, value in log.values[2:] if value is not None]
    value = data.draw(st.sampled_from(values))
    at = data.draw(st.integers(0, len(value) - 1))
    spoiled = (
        value[:at] + data.draw(st.binary(max_size=3)) + value[at + data.draw(st.integers(0, 2)) :]
    )
    before = (log.rights.version, log.rights.chain)
    try:
        log.append(spoiled)
    except (UpgradeNeededError, WrongLogError):
        assert (log.rights.version, log.rights.chain) == before


@PATIENT
@given(STEPS)
def test_a_log_read_twice_over_changes_nothing_the_second_time(steps):
    """Every append may come again after an unknown outcome: it counts once."""
    log = DrawnLog()
    for step in steps:
        log.take(step)
    subjects, before = dict(log.rights.subjects), decisions(log.rights.snapshot(0.0))
    for value in [value for _, _, value in log.values[1:]]:
        assert log.append(value).verdict == "repeat"
    assert dict(log.rights.subjects) == subjects
    assert decisions(log.rights.snapshot(0.0)) == before
    assert replayed(log.values).chain == log.rights.chain


def test_a_change_that_touches_many_mids_forgets_every_plan(monkeypatch):
    """The bound on what a change forgets one by one; what it decides afterwards is right."""
    monkeypatch.setattr(rights_state, "TOUCHED_MIDS_MAX", 1)
    log = DrawnLog()
    for number, mid in enumerate(MIDS):
        log.put("GRANT", simple_grant(f"h{number}", "acme", mid=mid))
    early = log.rights.snapshot(0.0)
    for mid in MIDS:
        assert early.plan(mid.encode(), 3, 5).routes
    log.put("TENANT_END", {"tenant_id": "acme"})
    late = log.rights.snapshot(0.0)
    for mid in MIDS:
        assert late.plan(mid.encode(), 3, 5).reason is Reason.TENANT_CLOSED
        assert early.plan(mid.encode(), 3, 5).routes


def test_a_remembered_plan_is_reused_and_survives_changes_elsewhere():
    """Or the memory would be for nothing."""
    log = DrawnLog()
    log.put("GRANT", simple_grant("h0", "acme", mid=MIDS[0], effective_from=2, effective_to=4))
    first = log.rights.snapshot(0.0)
    plan = first.plan(MIDS[0].encode(), 3, 2)
    assert first.plan(MIDS[0].encode(), 3, 3) is plan
    assert first.plan(MIDS[0].encode(), 3, 4) is not plan
    plan = first.plan(MIDS[0].encode(), 3, 3)
    log.put("GRANT", simple_grant("h1", "acme", mid=MIDS[1]))
    assert log.rights.snapshot(0.0).plan(MIDS[0].encode(), 3, 3) is plan
    log.put("GRANT", simple_grant("h2", "acme", mid=MIDS[0]))
    assert log.rights.snapshot(0.0).plan(MIDS[0].encode(), 3, 3) is not plan


def plans_across_a_revocation(asked_first: int) -> list[Reason]:
    """Reasons on the snapshots before and after a grant's end, neither asked before it came."""
    log = DrawnLog()
    log.put("GRANT", simple_grant("h0", "acme", mid=MIDS[0]))
    snapshots = [log.rights.snapshot(0.0)]
    log.end("h0")
    snapshots.append(log.rights.snapshot(0.0))
    snapshots[asked_first].plan(MIDS[0].encode(), 3, 5)
    return [snapshot.plan(MIDS[0].encode(), 3, 5).reason for snapshot in snapshots]


@pytest.mark.parametrize("asked_first", [0, 1])
def test_snapshots_on_either_side_of_a_change_do_not_share_its_plans(asked_first):
    expected = [Reason.ALLOWED, Reason.GRANT_REVOKED]
    assert plans_across_a_revocation(asked_first) == expected


def test_without_parting_with_the_shard_an_old_snapshot_allows_what_was_revoked(monkeypatch):
    """The anomaly that the guard is there for: a plan made by the older answers for the younger."""
    monkeypatch.setattr(ShardedMap, "part", ShardedMap.discard)
    assert plans_across_a_revocation(asked_first=0) == [Reason.ALLOWED, Reason.ALLOWED]


def test_numbers_of_nobody_are_not_remembered():
    """There is no end of them, and each would take memory."""
    rights = DrawnLog().rights.snapshot(0.0)
    for number in range(50):
        assert rights.plan(b"9%08d" % number, 3, 5).reason is Reason.NO_GRANT
    assert not any(rights.plan_shards)


def by_core(rights: RightsSnapshot) -> dict[Key, dict[str, Answer]]:
    """What the core decides, as the naive model says it."""
    return {
        key: {
            one.tenant_id: Answer(one.reason, one.grant_id, one.restricted, one.billing)
            if one.reason is Reason.ALLOWED
            else Answer(one.reason)
            for one in decision.tenants
        }
        for key, decision in decided(rights).items()
    }


@PATIENT
@given(st.lists(grants(), min_size=2, max_size=10), STEPS)
def test_the_core_decides_as_the_naive_model_over_any_history(given_first, steps):
    """The model knows no state: it looks through all that was ever accepted, for each question."""
    log = DrawnLog()
    for body in given_first:
        log.put("GRANT", body)
    for step in steps:
        log.take(step)
    for key, said in by_core(log.rights.snapshot(0.0)).items():
        assert said == answers(log.history, asked_of(key)), key


def test_what_waits_for_a_label_is_named_and_what_no_label_can_help_is_not():
    """A shipper gets its event at once, whatever the platform beside it waits for."""
    log = DrawnLog()
    log.put("GRANT", simple_grant("g0", "acme"))
    token = {"basis": "MERCHANT_TOKEN", "merchant_token_id": "T1"}
    log.put("GRANT", simple_grant("t", "shop", **token))
    log.put("GRANT", simple_grant("old", "shop", mid=MIDS[2], basis="MERCHANT_TOKEN"))
    snapshot = log.rights.snapshot(0.0)
    plan = snapshot.plan(MIDS[0].encode(), 1, 5)
    assert (plan.per_event, plan.routes, plan.reason) == (True, (), Reason.MERCHANT_TOKEN_MISSING)
    without = plan.for_event(2, 1, None)
    assert [route.tenant_id for route in without.routes] == ["acme"]
    assert without.awaits_label == ("shop",)
    made = label_of(MIDS[0], (2, 1, ("shop", "T1")))
    assert [route.tenant_id for route in plan.for_event(2, 1, made).routes] == ["acme", "shop"]
    other = label_of(MIDS[0], (2, 1, ("shop", "T2")))
    assert plan.for_event(2, 1, other).awaits_label == ()
    nothing = snapshot.plan(MIDS[2].encode(), 1, 5).for_event(2, 1, None)
    assert nothing == ((), Reason.MERCHANT_TOKEN_MISSING, ())


def test_a_plan_whose_first_grant_of_each_tenant_asks_nothing_is_final():
    """The quick path stays where a window stands behind a grant without one."""
    log = DrawnLog()
    log.put("GRANT", simple_grant("a", "acme"))
    log.put("GRANT", simple_grant("b", "acme", data_from=5))
    plan = log.rights.snapshot(0.0).plan(MIDS[0].encode(), 1, 5)
    assert (plan.per_event, [route.grant_id for route in plan.routes]) == (False, ["a"])


def test_the_end_of_a_token_ends_all_its_grants_at_one_offset():
    log = DrawnLog()
    token = {"basis": "MERCHANT_TOKEN", "merchant_token_id": "T1"}
    for number, mid in enumerate(MIDS):
        log.put("GRANT", simple_grant(f"t{number}", "shop", mid=mid, **token))
    before = log.rights.snapshot(0.0)
    assert all(before.plan(mid.encode(), 1, 5).per_event for mid in MIDS)
    log.put("MERCHANT_TOKEN_END", {"merchant_token_id": "T1"})
    after = log.rights.snapshot(0.0)
    for mid in MIDS:
        assert after.plan(mid.encode(), 1, 5).reason is Reason.MERCHANT_TOKEN_ENDED
        assert before.plan(mid.encode(), 1, 5).per_event
    log.put("MERCHANT_TOKEN", token_body("T1", "shop"))
    assert log.rights.subjects["token/T1"] == log.rights.version - 2, "an ended id is terminal"
