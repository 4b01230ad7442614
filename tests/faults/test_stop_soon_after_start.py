"""A worker is told to stop while it is still starting: it stops, in order, each time.

Fault: SIGTERM within moments of the first routed event, while Faust's consumer is still taking up
its partitions. Faust pauses, resumes and seeks that consumer from the main thread; on uvloop's loop
for that thread, two workers of 60 crashed and others did not stop within 20 s. Which of them meets
the moment is chance, so the long run makes many; what is sure is the kind of loop.
"""

import asyncio
import os
from pathlib import Path

import pytest
import uvloop

from streams.app import CommittedThread
from streams.settings import KafkaSettings, LayoutSettings
from streams.topics import TopicNames
from tests.rights_support import rights_office
from tests.router_support import barcode, event, offer
from tests.transaction_support import ends
from tests.worker_process import running_worker

pytestmark = [pytest.mark.broker, pytest.mark.fault]

ACME = "901234567"
EVENTS = 1_000


@pytest.mark.parametrize(
    "starts",
    [
        pytest.param(3, marks=pytest.mark.timeout(120)),
        pytest.param(60, marks=[pytest.mark.slow, pytest.mark.timeout(1200)]),
    ],
)
async def test_it_stops_each_time(
    starts: int,
    tmp_path: Path,
    kafka_settings: KafkaSettings,
    layout_settings: LayoutSettings,
    midgate_topics: TopicNames,
) -> None:
    kafka, layout = kafka_settings, layout_settings
    async with rights_office(kafka, layout) as office:
        await office.add_tenant("acme")
        await office.grant("acme", ACME, "g1")
    for start in range(starts):
        numbers = [barcode(ACME, start * EVENTS + n) for n in range(EVENTS)]
        await offer(kafka, midgate_topics.raw, [event(number) for number in numbers])
        with running_worker(tmp_path / str(start), kafka, layout, batch_records_max=200) as worker:
            await asyncio.to_thread(
                worker.wait_for,
                "some is routed",
                lambda worker=worker: worker.metric("midgate_events_routed_total") > 0,
            )
            assert await asyncio.to_thread(worker.terminate) == os.EX_OK, worker.tail()
        stable, high = await ends(kafka, midgate_topics.tenant("acme"))
        assert stable == high, "no transaction is left open"


def test_the_thread_has_a_loop_of_asyncio(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where, as in a worker, every new loop would be uvloop's."""
    policy = asyncio.get_event_loop_policy()
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    made: list[asyncio.AbstractEventLoop] = []
    try:
        monkeypatch.setattr(
            "streams.app.AIOKafkaConsumerThread.__init__",
            lambda self, consumer, *, thread_loop, **options: made.append(thread_loop),
        )
        CommittedThread(None)
    finally:
        asyncio.set_event_loop_policy(policy)
    [loop] = made
    assert isinstance(loop, asyncio.SelectorEventLoop)
    assert not isinstance(loop, uvloop.Loop)
    loop.close()
