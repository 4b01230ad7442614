"""A worker is killed in the middle of its transactions and started again: each event once.

Goal: exactly once over kill -9 with the router alone. Method: a backlog in small batches, several
kills after different progress, each followed at once by a new worker, which must fence what the
old one left open. Then the tenant topic is compared with what was offered.
"""

from pathlib import Path

import pytest

from streams.settings import KafkaSettings, LayoutSettings
from streams.topics import TopicNames
from tests.rights_support import rights_office
from tests.router_support import backlog, barcode, event, offer, placed
from tests.transaction_support import ends, eventually
from tests.worker_process import running_worker

pytestmark = [pytest.mark.broker, pytest.mark.fault, pytest.mark.timeout(120)]

ACME = "901234567"
EVENTS = 8_000


async def test_killed_workers_lose_and_double_nothing(
    tmp_path: Path,
    kafka_settings: KafkaSettings,
    layout_settings: LayoutSettings,
    midgate_topics: TopicNames,
) -> None:
    kafka, layout = kafka_settings, layout_settings
    topic = midgate_topics.tenant("acme")
    async with rights_office(kafka, layout) as office:
        await office.add_tenant("acme")
        await office.grant("acme", ACME, "g1")
    numbers = [barcode(ACME, n) for n in range(EVENTS)]
    await offer(kafka, midgate_topics.raw, [event(number) for number in numbers])
    settings = {"batch_records_max": 100, "session_timeout_ms": 6000}
    for kill, progress in enumerate((1, EVENTS // 4, EVENTS // 2)):
        with running_worker(tmp_path / f"killed{kill}", kafka, layout, **settings) as worker:

            async def far_enough(progress: int = progress) -> bool:
                return EVENTS - await backlog(kafka, layout) >= progress

            await eventually(far_enough, f"{progress} events are committed")
            worker.kill()
    with running_worker(tmp_path / "last", kafka, layout, **settings):

        async def done() -> bool:
            return await backlog(kafka, layout) == 0

        await eventually(done, "the rest is routed")
    stable, high = await ends(kafka, topic)
    assert stable == high
    records = await placed(kafka, topic)
    assert sorted(r.key for r in records) == sorted(number.encode() for number in numbers)
