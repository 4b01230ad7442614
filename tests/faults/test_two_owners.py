"""Two workers take themselves for the owner of one lane, one of them wrongly.

The one that asks the group after its failure learns that it is not, and leaves the other alone.
Without asking, the two fence each other for as long as both live. Either way each event is placed
once, as both read their offsets behind a fence.
"""

import asyncio

import pytest

from streams.deliverer import Deliverer, DeposedError
from streams.errors import MidgateError
from streams.rights import RightsSnapshot
from tests.deliverer_support import (
    Installation,
    input_records,
    route_all_to,
)

pytestmark = [pytest.mark.broker, pytest.mark.fault]

EVENTS = 60
BATCH = 5
STARTS_MAX = 50


class Worker:
    """Delivers everything in small batches, by the start order after each failure."""

    def __init__(self, lane: Deliverer[RightsSnapshot], tenant: str) -> None:
        self.lane = lane
        self.starts = 0
        self.failures_after_batch = 0
        self._route = route_all_to(tenant)

    async def run(self) -> None:
        """Until all is delivered, by whomever, or the lane is not ours any more."""
        everything = input_records(0, EVENTS)
        try:
            while True:
                self.starts += 1
                assert self.starts <= STARTS_MAX, "the two never settle"
                try:
                    at = (await self.lane.start())[0].offset
                    while at < EVENTS:
                        at += (
                            await self.lane.deliver(everything[at : at + BATCH], self._route)
                        ).records
                    return
                except DeposedError:
                    if not await self.lane._still_owner():
                        return
                except MidgateError:
                    continue
        finally:
            await self.lane.stop()


async def test_who_asks_the_group_leaves_the_owner_alone(installed: Installation) -> None:
    asked = []

    async def thought_so_once() -> bool:
        asked.append(True)
        return len(asked) == 1

    owner = Worker(installed.lane(), installed.tenant)
    former = Worker(installed.lane(still_owner=thought_so_once), installed.tenant)
    async with asyncio.timeout(60):
        await asyncio.gather(owner.run(), former.run())
    assert former.starts <= 2
    assert owner.starts <= 3
    assert await installed.delivered() == [record.value for record in input_records(0, EVENTS)]


async def test_who_does_not_ask_fences_the_owner_again(installed: Installation) -> None:
    owner = installed.lane()
    former = installed.lane()
    route = route_all_to(installed.tenant)
    everything = input_records(0, EVENTS)
    for turn in range(3):
        await owner.start()
        await owner.deliver(everything[turn * BATCH : (turn + 1) * BATCH], route)
        await former.start()
        with pytest.raises(MidgateError):
            await owner.deliver(everything[(turn + 1) * BATCH :], route)
    await owner.stop()
    await former.stop()
    assert await installed.delivered() == [record.value for record in everything[: 3 * BATCH]]
