"""The freshness lease, as arithmetic."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.lease import NEVER, QUESTIONS_MAX, Lease


def test_nothing_is_proved_at_the_beginning() -> None:
    lease = Lease(5.0, needs_appends=True)
    assert lease.confirmed_at == NEVER
    assert not lease.holds(0.0)


def test_a_slow_answer_is_an_old_one() -> None:
    """The instant of a proof is when the question was sent, not when the answer came."""
    lease = Lease(5.0, needs_appends=False)
    lease.answered(asked_at=10.0, end=7, version=7)
    assert lease.confirmed_at == 10.0
    assert lease.holds(15.0)
    assert not lease.holds(15.001)


def test_an_end_counts_only_when_it_is_reached() -> None:
    lease = Lease(5.0, needs_appends=False)
    lease.answered(10.0, end=9, version=7)
    assert lease.confirmed_at == NEVER
    lease.reached(8)
    assert lease.confirmed_at == NEVER
    lease.reached(9)
    assert lease.confirmed_at == 10.0


def test_a_leader_that_takes_no_appends_cannot_feign_freshness() -> None:
    """It confirms its own end for ever; without a new record the lease runs out all the same.

    With the second fact switched off the anomaly shows: the state counts as fresh.
    """
    lease, without = Lease(5.0, needs_appends=True), Lease(5.0, needs_appends=False)
    for each in (lease, without):
        each.answered(10.0, end=7, version=7)
        each.arrived(7)
        each.reached(8)
        for second in range(11, 21):
            each.answered(float(second), end=8, version=8)
    assert lease.confirmed_at == 10.0
    assert not lease.holds(20.0)
    assert without.holds(20.0)


def test_old_records_handed_out_late_prove_no_append() -> None:
    """A backlog below an end that was already named is no sign of life, however late it comes."""
    lease = Lease(5.0, needs_appends=True)
    lease.answered(10.0, end=100, version=0)
    for offset in range(100):
        lease.arrived(offset)
        lease.reached(offset + 1)
    assert lease.end_at == 10.0
    assert lease.append_at == NEVER
    lease.arrived(100)
    lease.reached(101)
    assert lease.confirmed_at == 10.0


def test_a_record_is_dated_by_the_last_answer_that_did_not_cover_it() -> None:
    lease = Lease(5.0, needs_appends=True)
    lease.answered(10.0, end=3, version=3)
    lease.answered(11.0, end=3, version=3)
    lease.answered(12.0, end=4, version=3)
    lease.arrived(3)
    lease.reached(4)
    assert lease.append_at == 11.0
    assert lease.end_at == 12.0
    assert lease.confirmed_at == 11.0


def test_a_heartbeat_is_due_after_a_third_without_proof_and_not_again_at_once() -> None:
    lease = Lease(6.0, needs_appends=True)
    assert lease.heartbeat_due(0.0, jitter=1.0)
    lease.beaten(0.0)
    assert not lease.heartbeat_due(1.9, jitter=0.0)
    assert lease.heartbeat_due(2.0, jitter=0.0)
    assert not lease.heartbeat_due(2.4, jitter=1.0)
    assert lease.heartbeat_due(2.5, jitter=1.0)


def test_a_follower_that_decides_nothing_appends_nothing() -> None:
    assert not Lease(6.0, needs_appends=False).heartbeat_due(1e9, jitter=0.0)


def test_a_lease_has_a_length() -> None:
    with pytest.raises(ValueError, match="positive"):
        Lease(0.0, needs_appends=True)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("ask"), st.integers(0, 3)),
            st.tuples(st.just("read"), st.integers(1, 3)),
        ),
        max_size=3 * QUESTIONS_MAX,
    )
)
def test_a_proof_is_never_younger_than_the_truth(steps: list[tuple[str, int]]) -> None:
    """Against a log that grows and a reader behind it: whatever is claimed at t was so at t.

    `committed` holds when each offset was committed; the claim "confirmed at c" is right if every
    offset committed at or before c has been applied, and the append fact if some applied record
    was committed after it.
    """
    lease = Lease(5.0, needs_appends=True)
    committed: list[float] = []
    version, now = 0, 0.0
    for step, amount in steps:
        now += 1.0
        if step == "ask":
            lease.answered(now, len(committed), version)
            committed.extend([now + 0.5] * amount)
        elif version < len(committed):
            version = min(version + amount, len(committed))
            lease.arrived(version - 1)
            lease.reached(version)
        assert all(at > lease.end_at for at in committed[version:])
        if lease.append_at != NEVER:
            assert any(at > lease.append_at for at in committed[:version])
