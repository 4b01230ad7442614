"""How long a lane waits after failures in a row."""

import pytest

from streams.lane import BACKOFF_S_MAX, BACKOFF_S_MAX_BLOCKED, backoff_s


@pytest.mark.parametrize(
    ("blocked", "longest_s"), [(False, BACKOFF_S_MAX), (True, BACKOFF_S_MAX_BLOCKED)]
)
def test_waits_double_up_to_a_bound(blocked: bool, longest_s: float) -> None:
    """What needs mending is tried again about once a minute, everything else more often."""
    assert backoff_s(1, blocked=blocked) <= 0.15
    waits = [backoff_s(failures, blocked=blocked) for failures in range(12, 1_000)]
    assert 0.5 * longest_s <= min(waits) < max(waits) <= 1.5 * longest_s


def test_not_all_wait_alike() -> None:
    assert len({backoff_s(5) for _ in range(10)}) > 1
