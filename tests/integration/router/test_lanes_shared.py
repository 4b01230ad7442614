"""Workers come and go; every event is placed once."""

import asyncio
from pathlib import Path

import pytest

from streams.settings import KafkaSettings, LayoutSettings
from streams.topics import TopicNames
from tests.rights_support import rights_office
from tests.router_support import acknowledged, backlog, barcode, event, offer, placed
from tests.transaction_support import ends, eventually
from tests.worker_process import WorkerProcess, running_worker

pytestmark = [pytest.mark.broker, pytest.mark.timeout(110)]

ACME = "901234567"


async def acme(kafka: KafkaSettings, layout: LayoutSettings) -> None:
    async with rights_office(kafka, layout) as office:
        await office.add_tenant("acme")
        await office.grant("acme", ACME, "g1")


async def keep_offering(kafka: KafkaSettings, topic: str, numbers: list[str]) -> None:
    """Small pieces, so that workers are always in the middle of something."""
    for start in range(0, len(numbers), 100):
        await offer(kafka, topic, [event(number) for number in numbers[start : start + 100]])


async def lanes_of(worker: WorkerProcess) -> int:
    body = await asyncio.to_thread(worker.ready)
    return len(body.get("lanes", ()))


async def test_a_second_worker_takes_half_and_gives_it_back(
    tmp_path: Path,
    kafka_settings: KafkaSettings,
    layout_settings: LayoutSettings,
    midgate_topics: TopicNames,
) -> None:
    """Under load: one worker, then two, then SIGTERM of the first; each event exactly once."""
    kafka, layout = kafka_settings, layout_settings
    await acme(kafka, layout)
    numbers = [barcode(ACME, n) for n in range(6_000)]
    with running_worker(tmp_path / "one", kafka, layout) as first:
        await asyncio.to_thread(first.wait_ready, 2)
        offering = asyncio.create_task(keep_offering(kafka, midgate_topics.raw, numbers))
        with running_worker(tmp_path / "two", kafka, layout) as second:
            await asyncio.to_thread(second.wait_ready, 1)
            assert await lanes_of(first) == 1
            assert await asyncio.to_thread(first.terminate) == 0
            assert first.lines("router_stopped")
            await asyncio.to_thread(second.wait_ready, 2)
            await offering

            async def done() -> bool:
                return await backlog(kafka, layout) == 0

            await eventually(done, "everything is committed")
            assert await asyncio.to_thread(second.terminate) == 0
    records = await placed(kafka, midgate_topics.tenant("acme"))
    assert sorted(r.key for r in records) == sorted(number.encode() for number in numbers)


async def test_sigterm_leaves_no_transaction_open(
    tmp_path: Path,
    kafka_settings: KafkaSettings,
    layout_settings: LayoutSettings,
    midgate_topics: TopicNames,
) -> None:
    """Told to stop in the middle of a backlog: nothing holds a reader back afterwards, and the
    next worker need not wait for the group to forget the first."""
    kafka, layout = kafka_settings, layout_settings
    await acme(kafka, layout)
    numbers = [barcode(ACME, n) for n in range(20_000)]
    await offer(kafka, midgate_topics.raw, [event(number) for number in numbers])
    with running_worker(tmp_path / "one", kafka, layout, batch_records_max=500) as worker:
        await asyncio.to_thread(
            worker.wait_for,
            "some is routed",
            lambda: worker.metric("midgate_events_routed_total") > 0,
        )
        assert await asyncio.to_thread(worker.terminate) == 0
    stable, high = await ends(kafka, midgate_topics.tenant("acme"))
    assert stable == high
    with running_worker(tmp_path / "two", kafka, layout) as worker:

        async def done() -> bool:
            return await backlog(kafka, layout) == 0

        await eventually(done, "the rest is routed")
    records = await placed(kafka, midgate_topics.tenant("acme"))
    assert sorted(r.key for r in records) == sorted(number.encode() for number in numbers)


async def test_an_idle_lane_acknowledges_a_revocation(
    tmp_path: Path,
    kafka_settings: KafkaSettings,
    layout_settings: LayoutSettings,
    midgate_topics: TopicNames,
) -> None:
    """Without a single event both lanes say, under their keys, that they know of it."""
    kafka, layout = kafka_settings, layout_settings
    await acme(kafka, layout)
    with running_worker(tmp_path, kafka, layout) as worker:
        await asyncio.to_thread(worker.wait_ready, 2)
        async with rights_office(kafka, layout) as office:
            revoked = await office.revoke("g1")

        async def acknowledged_it() -> bool:
            said = await acknowledged(kafka, layout)
            return all(ack is not None and ack.version > revoked.offset for ack in said.values())

        await eventually(acknowledged_it, "both lanes have acknowledged")
        await offer(kafka, midgate_topics.raw, [event(barcode(ACME, 1))])
        await asyncio.to_thread(
            worker.wait_for,
            "the event is withheld",
            lambda: worker.metric("midgate_events_withheld_total", reason="grant_revoked") == 1,
        )
    assert await placed(kafka, midgate_topics.tenant("acme")) == []
