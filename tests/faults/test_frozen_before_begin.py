"""A worker freezes after it took its snapshot of the rights and before its transaction begins.

No time-out of the broker runs yet, so nothing but the snapshot's own age can stop it: without the
check it commits, long after its rights were last confirmed, what may have been revoked meanwhile.
"""

import pytest

from streams.errors import LeaseExpiredError
from streams.lease_clock import lease_clock
from streams.rights import RightsSnapshot
from tests.deliverer_support import (
    Installation,
    input_records,
    route_all_to,
)

pytestmark = [pytest.mark.broker, pytest.mark.fault]

FROZEN_S = 16.0


class FreezingClock:
    """The lease clock of a process that freezes once, just before its `at`-th reading."""

    def __init__(self, at: int) -> None:
        self._left = at

    def __call__(self) -> float:
        self._left -= 1
        return lease_clock() + (FROZEN_S if self._left < 1 else 0.0)


class ThawedFollower:
    """A follower as the worker finds it after the freeze: up to date again, with no problem.

    `lease_max_s` is the guard; the snapshot it hands out is the real one.
    """

    def __init__(self, installed: Installation, lease_max_s: float) -> None:
        self._follower = installed.follower
        self.lease_max_s = lease_max_s
        self.problem = None
        self.rights = self._follower.rights

    @property
    def version(self) -> int:
        return self._follower.version

    def snapshot(self) -> RightsSnapshot:
        return self._follower.snapshot()

    async def wait_for_version(self, version: int, timeout_s: float) -> None:
        await self._follower.wait_for_version(version, timeout_s)


@pytest.mark.parametrize("reading", [1, 2], ids=["before begin", "before the clock is read"])
async def test_what_was_decided_on_old_rights_is_not_committed(
    installed: Installation, reading: int
) -> None:
    follower = ThawedFollower(installed, installed.follower.lease_max_s)
    lane = installed.lane(follower=follower, monotonic=FreezingClock(reading))
    await lane.start()
    routed: list[int] = []

    def route(records, snapshot, decided_at_ms, bytes_out_max):  # type: ignore[no-untyped-def]
        routed.append(decided_at_ms)
        return route_all_to(installed.tenant)(records, snapshot, decided_at_ms, bytes_out_max)

    with pytest.raises(LeaseExpiredError):
        await lane.deliver(input_records(0, 1), route)
    # Nothing open yet: only wait. Something open: only the start order leads on.
    assert lane.started == (reading == 1)
    await lane.stop()
    assert routed == []

    thawed = installed.lane()
    points = await thawed.start()
    assert points[0].offset == 0
    await thawed.deliver(input_records(0, 1), route_all_to(installed.tenant))
    await thawed.stop()
    assert await installed.delivered() == [b"0-0"]


async def test_without_the_guard_it_is_committed(installed: Installation) -> None:
    follower = ThawedFollower(installed, float("inf"))
    clock = FreezingClock(2)
    lane = installed.lane(follower=follower, monotonic=clock)
    await lane.start()
    confirmed_at = follower.snapshot().confirmed_at
    await lane.deliver(input_records(0, 1), route_all_to(installed.tenant))
    await lane.stop()
    assert clock() - confirmed_at > FROZEN_S - 1
    assert await installed.delivered() == [b"0-0"]
