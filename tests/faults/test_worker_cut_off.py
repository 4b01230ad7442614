"""A worker cut off from the authorization log alone: it stops deciding, and goes on by itself.

Goal: nothing is delivered on old rights, whatever the worker can still reach. Method: the worker
sits behind a proxy that swallows every request that names the authorization log, and passes all
others, so that its lanes could go on delivering. A grant is ended meanwhile.

The anomaly with the guard off: a lease far longer than the test, and the event goes to the tenant
after the revocation.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from streams.settings import KafkaSettings, LayoutSettings
from streams.topics_admin import apply_topics
from tests.kafka_support import BrokerFactory
from tests.rights_support import rights_office
from tests.router_support import barcode, event, offer, placed
from tests.tcp_proxy import FETCH, Fault, TcpProxy
from tests.transaction_support import eventually
from tests.worker_process import WorkerProcess, running_worker

pytestmark = [pytest.mark.broker, pytest.mark.fault, pytest.mark.timeout(110)]

ACME = "901234567"
LEASE_S = 2.0
# As good as none within a test.
NO_LEASE_S = 300.0


class Scene:
    """A running worker behind a proxy, and a tenant with one grant."""

    def __init__(
        self, kafka: KafkaSettings, layout: LayoutSettings, proxy: TcpProxy, worker: WorkerProcess
    ) -> None:
        self.kafka = kafka
        self.layout = layout
        self.proxy = proxy
        self.worker = worker
        self.topic = layout.topics.tenant("acme")

    async def offer_one(self, serial: int) -> None:
        await offer(self.kafka, self.layout.topics.raw, [event(barcode(ACME, serial))])

    async def placed_events(self) -> int:
        return len(await placed(self.kafka, self.topic))

    async def cut_log(self) -> None:
        """Swallow whatever names the log. Returns when the follower has asked in vain: until then
        the answer to an earlier question could still bring it a record.
        """
        log = self.layout.topics.authorization.encode()
        asked_in_vain = asyncio.Event()

        def rule(key: int, frame: bytes) -> Fault:
            if log not in frame:
                return Fault.PASS
            if key == FETCH:
                asked_in_vain.set()
            return Fault.SWALLOW

        self.proxy.rule = rule
        async with asyncio.timeout(30):
            await asked_in_vain.wait()

    async def revoke(self) -> None:
        async with rights_office(self.kafka, self.layout) as office:
            await office.revoke("g1")


@asynccontextmanager
async def a_scene(
    broker_factory: BrokerFactory, layout: LayoutSettings, folder: Path, lease_s: float
) -> AsyncIterator[Scene]:
    async with await TcpProxy.start() as proxy:
        broker = await asyncio.to_thread(broker_factory, proxy.listener())
        kafka = KafkaSettings(bootstrap=broker.bootstrap)
        await apply_topics(kafka, layout)
        async with rights_office(kafka, layout) as office:
            await office.add_tenant("acme")
            await office.grant("acme", ACME, "g1")
        behind = KafkaSettings(bootstrap=proxy.address)
        with running_worker(
            folder, behind, layout, authorization_staleness_s_max=lease_s
        ) as worker:
            await asyncio.to_thread(worker.wait_ready, 2)
            scene = Scene(kafka, layout, proxy, worker)
            await scene.offer_one(1)

            async def first() -> bool:
                return await scene.placed_events() == 1

            await eventually(first, "the first event is placed")
            yield scene


async def test_a_worker_cut_off_from_the_log_stops_and_goes_on_by_itself(
    broker_factory: BrokerFactory, layout_settings: LayoutSettings, tmp_path: Path
) -> None:
    async with a_scene(broker_factory, layout_settings, tmp_path, LEASE_S) as scene:
        worker = scene.worker
        await scene.cut_log()

        def says_so() -> bool:
            reasons = worker.ready().get("reasons", ())
            return any("not confirmed" in reason for reason in reasons)

        await asyncio.to_thread(worker.wait_for, "/ready says that the lease is gone", says_so)
        assert worker.get("/ready")[0] == 503
        assert worker.get("/live")[0] == 200
        assert worker.metric("midgate_authorization_lease_age_seconds") > LEASE_S
        await asyncio.to_thread(
            worker.wait_for,
            "both lanes say so",
            lambda: worker.metric("midgate_lane_state", state="no_lease") == 2,
        )
        await scene.revoke()
        await scene.offer_one(2)
        scene.proxy.heal()
        scene.proxy.cut()
        await asyncio.to_thread(worker.wait_ready, 2)
        await asyncio.to_thread(
            worker.wait_for,
            "the second event is withheld",
            lambda: worker.metric("midgate_events_withheld_total", reason="grant_revoked") == 1,
        )
        assert await scene.placed_events() == 1
        assert worker.lines("lane_stopped_deciding")
        assert worker.lines("lane_decides_again")


async def test_without_a_lease_it_would_deliver_on_old_rights(
    broker_factory: BrokerFactory, layout_settings: LayoutSettings, tmp_path: Path
) -> None:
    """The guard off: shows that the cut really leaves the lanes able to deliver."""
    async with a_scene(broker_factory, layout_settings, tmp_path, NO_LEASE_S) as scene:
        await scene.cut_log()
        await scene.revoke()
        await scene.offer_one(2)

        async def leaked() -> bool:
            return await scene.placed_events() == 2

        await eventually(leaked, "the event is placed after the revocation")
