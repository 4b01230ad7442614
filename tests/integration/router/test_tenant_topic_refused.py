"""A tenant topic that refuses stops its lane, by name; other lanes go on; mended, it goes on."""

import asyncio
from pathlib import Path

import pytest
from aiokafka.partitioner import DefaultPartitioner

from streams.settings import KafkaSettings, LayoutSettings
from streams.topics import TopicNames
from streams.topics_admin import create_tenant_topic
from tests.rights_support import rights_office
from tests.router_support import barcode, event, lane_layout, offer, placed
from tests.transaction_support import delete_topics, eventually
from tests.worker_process import running_worker

pytestmark = [pytest.mark.broker, pytest.mark.timeout(110)]

ACME, BROKEN = "901234567", "907654321"


def numbers_for(layout: LayoutSettings, lane: int, mid: str, count: int) -> list[str]:
    """Numbers of the MID whose raw partition belongs to the lane."""
    partitions = list(range(layout.partitions))
    choose = DefaultPartitioner()
    found: list[str] = []
    serial = 0
    while len(found) < count:
        number = barcode(mid, serial)
        serial += 1
        partition = choose(number.encode(), partitions, partitions)
        if lane_layout(layout).lane_of(partition) == lane:
            found.append(number)
    return found


async def test_a_deleted_tenant_topic_stops_one_lane_and_is_named(
    tmp_path: Path,
    kafka_settings: KafkaSettings,
    layout_settings: LayoutSettings,
    midgate_topics: TopicNames,
) -> None:
    kafka, layout = kafka_settings, layout_settings
    async with rights_office(kafka, layout) as office:
        await office.add_tenant("acme")
        topic = await office.add_tenant("broken")
        await office.grant("acme", ACME, "g1")
        await office.grant("broken", BROKEN, "g2")
    stuck = numbers_for(layout, 0, BROKEN, 20)
    fine = numbers_for(layout, 1, ACME, 20)
    behind = numbers_for(layout, 0, ACME, 20)
    with running_worker(tmp_path, kafka, layout) as worker:
        await asyncio.to_thread(worker.wait_ready, 2)
        await delete_topics(kafka, topic)
        await offer(kafka, midgate_topics.raw, [event(number) for number in stuck + behind])

        def named() -> bool:
            return any(
                "lane 0 is blocked" in reason and topic in reason
                for reason in worker.ready().get("reasons", ())
            )

        await asyncio.to_thread(worker.wait_for, "the topic is named on /ready", named)
        assert worker.get("/ready")[0] == 503
        assert worker.metric("midgate_lane_state", lane="0", state="blocked") == 1
        blocked = worker.lines("lane_blocked")[0]
        assert (blocked["topic"], blocked["lane"]) == (topic, 0)

        await offer(kafka, midgate_topics.raw, [event(number) for number in fine])

        async def others_go_on() -> bool:
            return len(await placed(kafka, midgate_topics.tenant("acme"))) >= len(fine)

        await eventually(others_go_on, "the other lane delivers")
        assert worker.metric("midgate_lane_state", lane="1", state="running") == 1
        assert worker.get("/live")[0] == 200, "a restart would not help"

        await create_tenant_topic(kafka, layout, "broken", 1)
        await asyncio.to_thread(worker.wait_ready, 2)

        async def all_arrived() -> bool:
            here = len(await placed(kafka, topic))
            there = len(await placed(kafka, midgate_topics.tenant("acme")))
            return (here, there) == (len(stuck), len(fine + behind))

        await eventually(all_arrived, "what was held up arrives, once")
        assert worker.lines("lane_recovered")
