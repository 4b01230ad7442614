"""A lane whose task or fetching dies under it delivers on, and says that it died."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from streams import lane_fetch
from streams.metrics import LaneState, Metrics
from streams.router import Router
from streams.settings import KafkaSettings, LayoutSettings, Settings
from streams.topics import TopicNames
from tests.rights_support import rights_office
from tests.router_support import backlog, barcode, event, offer, placed
from tests.transaction_support import eventually

pytestmark = [pytest.mark.broker, pytest.mark.timeout(90)]

ACME = "901234567"


@asynccontextmanager
async def running_router(kafka: KafkaSettings, layout: LayoutSettings) -> AsyncIterator[Router]:
    """A router in this process, with all its lanes at work."""
    async with rights_office(kafka, layout) as office:
        await office.add_tenant("acme")
        await office.grant("acme", ACME, "g1")
    router = Router(Settings(kafka=kafka, layout=layout), Metrics("test"), "test")
    await router.start()

    async def at_work() -> bool:
        states = [lane.report.state for lane in router.lanes.values()]
        return states == [LaneState.RUNNING] * layout.lanes

    try:
        await eventually(at_work, "all lanes are at work")
        yield router
    finally:
        await router.stop()


async def delivers(kafka: KafkaSettings, layout: LayoutSettings, events: int) -> None:
    """Every partition gets events, and all of them arrive."""
    numbers = [barcode(ACME, serial) for serial in range(events)]
    await offer(kafka, layout.topics.raw, [event(number) for number in numbers])

    async def done() -> bool:
        return await backlog(kafka, layout) == 0

    await eventually(done, "all is routed")
    records = await placed(kafka, layout.topics.tenant("acme"))
    assert sorted(r.key for r in records) == sorted(number.encode() for number in numbers)


async def test_a_stray_cancellation_ends_no_lane(
    kafka_settings: KafkaSettings, layout_settings: LayoutSettings, midgate_topics: TopicNames
) -> None:
    with capture_logs() as logs:
        async with running_router(kafka_settings, layout_settings) as router:
            struck = router.lanes[0]
            assert struck._task is not None
            struck._task.cancel()

            async def said() -> bool:
                return "it was cancelled" in router.look().lanes[0].problem

            await eventually(said, "the page says what happened")
            await delivers(kafka_settings, layout_settings, 40)
            assert router.lanes[0] is not struck
            assert router.look().lanes[0].problem == ""
    (ended,) = [line for line in logs if line["event"] == "lane_ended"]
    assert (ended["log_level"], ended["lane"]) == ("error", 0)


async def test_fetching_that_dies_is_begun_anew(
    kafka_settings: KafkaSettings, layout_settings: LayoutSettings, midgate_topics: TopicNames
) -> None:
    async with running_router(kafka_settings, layout_settings) as router:
        first = router.lanes[0]._fetch._consumer
        assert first is not None
        first._fetcher._fetch_task.cancel()
        await delivers(kafka_settings, layout_settings, 40)
        assert router.lanes[0]._fetch._consumer is not first
        assert first._closed


@pytest.mark.parametrize("looked_at", [True, False])
async def test_a_dead_fetch_returns_nothing_for_ever_unless_looked_at(
    kafka_settings: KafkaSettings,
    layout_settings: LayoutSettings,
    midgate_topics: TopicNames,
    monkeypatch: pytest.MonkeyPatch,
    looked_at: bool,
) -> None:
    raw, numbers = midgate_topics.raw, range(layout_settings.partitions)
    await offer(kafka_settings, raw, [event(barcode(ACME, 1))])
    if not looked_at:
        monkeypatch.setattr(lane_fetch, "_check_fetching", lambda consumer: None)
    fetch = lane_fetch.LaneFetch(kafka_settings, raw, numbers)
    await fetch.open()
    try:
        assert fetch._consumer is not None
        fetch._consumer._fetcher._fetch_task.cancel()
        fetch.seek(dict.fromkeys(numbers, 0))
        if looked_at:
            with pytest.raises(lane_fetch.FetchEndedError, match="it was cancelled"):
                await fetch.collect(10, fill=lambda: True)
        else:
            for _ in range(20):
                assert await fetch.collect(10, fill=lambda: True) == []
    finally:
        await fetch.close()


async def test_a_membership_that_is_left_is_given_no_lanes(
    kafka_settings: KafkaSettings, layout_settings: LayoutSettings, midgate_topics: TopicNames
) -> None:
    """A rebalance that ends while the lanes are being stopped."""
    async with running_router(kafka_settings, layout_settings) as router:
        left = router._consumer
        assert left is not None
        partitions = list(left.assignment())
        await router.stop()
        await router.assigned(left, partitions)
        assert not router.lanes
        assert not router.look().joined
