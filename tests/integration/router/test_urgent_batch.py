"""A restricting change seen while a lane collects makes the batch small, and ends the filling."""

import asyncio
import os
from collections.abc import Callable

import pytest

from streams import clients
from streams.batch_size import URGENT_RECORDS_MAX
from streams.lane_fetch import LaneFetch
from streams.raw_record import RawRecord
from streams.settings import KafkaSettings, LayoutSettings
from streams.topics import TopicNames
from tests.integration.router.test_lane_dies import ACME, running_router
from tests.router_support import backlog, barcode, event, offer
from tests.transaction_support import eventually

pytestmark = [pytest.mark.broker, pytest.mark.timeout(90)]

# Four of them fill one fetch of a partition.
LARGE = 900_000
LARGE_COUNT = 20


@pytest.mark.parametrize("urgent", [True, False])
async def test_filling_ends_when_it_is_urgent(
    kafka_settings: KafkaSettings,
    layout_settings: LayoutSettings,
    midgate_topics: TopicNames,
    urgent: bool,
) -> None:
    producer = clients.idempotent_producer(kafka_settings)
    await clients.start(producer, kafka_settings)
    for _ in range(LARGE_COUNT):
        await producer.send(midgate_topics.raw, value=os.urandom(LARGE), partition=0)
    await producer.stop()
    fetch = LaneFetch(kafka_settings, midgate_topics.raw, [0])
    await fetch.open()
    try:
        fetch.seek({0: 0})
        records: list[RawRecord] = []
        async with asyncio.timeout(30):
            while not records:
                records = await fetch.collect(LARGE_COUNT, fill=lambda: not urgent)
        if urgent:
            assert len(records) < LARGE_COUNT / 2
        else:
            assert len(records) > LARGE_COUNT / 2
    finally:
        await fetch.close()


async def test_a_change_seen_while_collecting_makes_the_batch_small(
    kafka_settings: KafkaSettings, layout_settings: LayoutSettings, midgate_topics: TopicNames
) -> None:
    async with running_router(kafka_settings, layout_settings) as router:
        lane, follower = router.lanes[0], router.follower
        assert follower is not None
        collect, deliver = lane._fetch.collect, lane._deliver
        batches: list[int] = []

        async def collects(records_max: int, *, fill: Callable[[], bool]) -> list[RawRecord]:
            """Much at once, and a restricting change beside it, the first time."""
            records = await collect(records_max, fill=fill)
            while records and not batches and len(records) <= URGENT_RECORDS_MAX:
                records += await collect(records_max - len(records), fill=fill)
            if records and not batches:
                follower.restricting_version = lane._deliverer.acknowledged_version + 1
            return records

        async def delivers(records: list[RawRecord]) -> None:
            batches.append(len(records))
            await deliver(records)

        assert await lane.hold(10)
        lane._fetch.collect = collects  # type: ignore[method-assign]
        lane._deliver = delivers  # type: ignore[method-assign]
        numbers = (barcode(ACME, serial) for serial in range(4_000))
        await offer(kafka_settings, midgate_topics.raw, [event(number) for number in numbers])
        lane.release()

        async def done() -> bool:
            return await backlog(kafka_settings, layout_settings) == 0

        await eventually(done, "all is routed")
        assert batches[0] == URGENT_RECORDS_MAX
