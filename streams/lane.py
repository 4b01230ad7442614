"""One lane at work: its raw partitions, its deliverer, and what happens when something fails.

    start order ──► batch, batch, … ──► any failure ──► wait ──► start order
                     │        ▲
                     ▼        │
              held for a rebalance, or waiting for the lease: between two batches only

The lane takes as many records as there is backlog for: little when there is none, as then the
time to the tenant counts; a full batch when there is much, as then the number of transactions
does. A restricting change makes the next transaction immediate and small, and without traffic an
empty one, so that a revocation need not wait for a scan.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError
from aiokafka.structs import ConsumerRecord

from streams.authorization_writer import AuthorizationWriter
from streams.deliverer import (
    Deliverer,
    DelivererIdentity,
    DeposedError,
    MissingOffsetError,
)
from streams.errors import ChangeVoidError, LeaseExpiredError, LogError, NotAuthorizedError
from streams.follower import Follower
from streams.garbage import BetweenBatches
from streams.health import LaneHealth
from streams.lane_fetch import LaneFetch
from streams.lanes import LaneLayout
from streams.logs import get_logger
from streams.metrics import LaneState, Metrics, Outcome
from streams.rights import RightsSnapshot
from streams.routing import RoutedBatch, route_batch
from streams.settings import Settings
from streams.transactions import TransactionFailedError

log = get_logger(__name__)

# Wait before the start order after the n-th failure in a row: doubled each time, with jitter.
BACKOFF_S_FIRST = 0.1
BACKOFF_S_MAX = 15.0
# Between two looks at a lease that has expired, or at a gate that is shut.
LOOK_S = 0.05
# Committed offsets and transactional ids expire after 7 days.
IDLE_COMMIT_S = 86_400.0
# A cancelled lane closes a producer (1 s) and a consumer (2 s).
CANCEL_S_MAX = 4.0

# States in which a lane can come to a stand between two transactions.
_STANDING = (LaneState.RUNNING, LaneState.NO_LEASE, LaneState.HELD)
# What only somebody from outside can mend.
_NEEDS_MENDING = (ChangeVoidError, MissingOffsetError, OffsetOutOfRangeError, NotAuthorizedError)


class Lane:
    """Runs one lane from `start` until `stop`; goes on by itself after every failure."""

    def __init__(
        self,
        number: int,
        layout: LaneLayout,
        settings: Settings,
        *,
        follower: Follower,
        writer: AuthorizationWriter,
        metrics: Metrics,
        garbage: BetweenBatches,
        still_owner: Callable[[], Awaitable[bool]],
        build: str,
    ) -> None:
        names = settings.layout.topics
        self.number = number
        self.health = LaneHealth()
        self._follower = follower
        self._metrics = metrics
        self._garbage = garbage
        self._log = log.bind(lane=number)
        self._fetch = LaneFetch(settings.kafka, names.raw, layout.partitions_of(number))
        self._route = partial(_route, app_id=layout.app_id)
        self._deliverer: Deliverer[RightsSnapshot] = Deliverer(
            DelivererIdentity(
                transactional_id=layout.transactional_id(number),
                kind="LANE",
                app_id=layout.app_id,
                lane=number,
                lanes=layout.lanes,
                partitions=layout.partitions,
                inputs=tuple(layout.partitions_of(number)),
                group=layout.router_group,
                ack=TopicPartition(names.ledger, number),
                topics=names,
                build=build,
            ),
            kafka=settings.kafka,
            router=settings.router,
            follower=follower,
            writer=writer,
            still_owner=still_owner,
            tenant_topics=self._tenant_topics,
            clock_ms=lambda: time.time_ns() // 1_000_000,
            monotonic=time.monotonic,
        )
        self._waiting: list[ConsumerRecord] = []
        self._failures = 0
        self._committed_at = time.monotonic()
        self._go = asyncio.Event()
        self._go.set()
        self._stands = asyncio.Event()
        self._stopping = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin with the start order, in a task of its own."""
        assert self._task is None, "a lane is started once"
        self._task = asyncio.create_task(self._run(), name=f"lane {self.number}")

    async def hold(self, timeout_s: float) -> bool:
        """Come to a stand between two transactions; False when that is not to be had in time."""
        self._go.clear()
        if self.health.state not in _STANDING:
            return False
        try:
            async with asyncio.timeout(timeout_s):
                await self._stands.wait()
        except TimeoutError:
            return False
        return True

    def release(self) -> None:
        """Go on after `hold`."""
        self._go.set()

    async def stop(self, timeout_s: float) -> None:
        """End: finish the transaction within `timeout_s`, else drop it. Clients are closed."""
        self._stopping = True
        task = self._task
        if task is None:
            return
        if self.health.state in _STANDING:
            await asyncio.wait([task], timeout=timeout_s)
        task.cancel()
        await asyncio.wait([task], timeout=CANCEL_S_MAX)
        self._set_state(LaneState.STOPPED)
        self._log.info("lane_stopped")

    async def _run(self) -> None:
        try:
            while not self._stopping:
                try:
                    await self._rights_confirmed()
                    await self._start_order()
                    while not self._stopping and self._deliverer.started:
                        await self._one_turn()
                # Any failure at all is the same one path: the start order, after a wait.
                except Exception as error:  # noqa: BLE001
                    await self._failed(error)
        finally:
            await self._deliverer.stop()
            with suppress(KafkaError):
                await self._fetch.close()

    async def _rights_confirmed(self) -> None:
        """Before a start: a registration could not be read back, and each try appends one."""
        while not self._stopping and self._follower.problem is not None:
            await self._wait_for_rights(LogError(self._follower.problem))

    async def _start_order(self) -> None:
        self._set_state(LaneState.STARTING, self.health.problem)
        self._fetch.pause()
        self._waiting.clear()
        await self._fetch.open()
        self._metrics.lane_starts.labels(str(self.number)).inc()
        points = await self._deliverer.start()
        self._fetch.seek({partition: point.offset for partition, point in points.items()})
        self._set_state(LaneState.RUNNING)
        self._log.info(
            "lane_started",
            offsets={partition: point.offset for partition, point in points.items()},
            version=self._follower.version,
        )

    async def _one_turn(self) -> None:
        """At most one transaction; comes to a stand first when asked to."""
        self.health.stepped_at = time.monotonic()
        if not self._go.is_set():
            await self._stand()
            return
        try:
            if self._follower.problem is not None:
                raise LogError(self._follower.problem)
            await self._work()
        except (LogError, LeaseExpiredError) as error:
            if not self._deliverer.started:
                raise
            await self._wait_for_rights(error)

    async def _work(self) -> None:
        urgent = self._follower.restricting_version > self._deliverer.acknowledged_version
        limit = self._deliverer.size.records(urgent=urgent)
        if len(self._waiting) < limit:
            self._waiting += await self._fetch.collect(limit - len(self._waiting), fill=not urgent)
        # Asked again, as a change may have come while nothing else did.
        urgent = self._follower.restricting_version > self._deliverer.acknowledged_version
        if self._waiting:
            await self._deliver(self._waiting[:limit])
        elif urgent or time.monotonic() - self._committed_at > IDLE_COMMIT_S:
            await self._deliverer.acknowledge()
            self._committed(Outcome.ACKNOWLEDGED)
        self._report_lag()
        self._garbage.after_batch()

    async def _deliver(self, records: list[ConsumerRecord]) -> None:
        began = time.perf_counter()
        delivered = await self._deliverer.deliver(records, self._route)
        self._metrics.commit_duration.observe(time.perf_counter() - began)
        del self._waiting[: delivered.records]
        self._committed(Outcome.COMMITTED)
        self._count(records[: delivered.records], delivered.routed)

    def _committed(self, outcome: Outcome) -> None:
        if self._failures:
            self._log.info("lane_recovered", failures=self._failures)
        self._failures = 0
        self._committed_at = time.monotonic()
        self._set_state(LaneState.RUNNING)
        self._metrics.transactions.labels(outcome.value).inc()

    def _count(self, records: list[ConsumerRecord], routed: RoutedBatch) -> None:
        metrics, label = self._metrics, str(self.number)
        now_ms = time.time() * 1000
        metrics.events_routed.inc(len(records))
        metrics.deliveries.inc(routed.delivered_copies)
        metrics.count_denials(routed.withheld, routed.quarantined)
        metrics.event_latency.observe_since([record.timestamp for record in records], now_ms)
        metrics.batch_events.labels(label).set(len(records))
        oldest_ms = min(records[0].timestamp, records[-1].timestamp)
        metrics.router_lag_seconds.labels(label).set(max(0.0, now_ms - oldest_ms) / 1000)

    def _report_lag(self) -> None:
        label = str(self.number)
        lag = self._fetch.backlog() + len(self._waiting)
        self._metrics.router_lag.labels(label).set(lag)
        if not lag:
            self._metrics.router_lag_seconds.labels(label).set(0)

    async def _stand(self) -> None:
        self._set_state(LaneState.HELD)
        self._stands.set()
        while not self._go.is_set() and not self._stopping:
            self.health.stepped_at = time.monotonic()
            await asyncio.sleep(LOOK_S)
        self._stands.clear()
        self._set_state(LaneState.RUNNING)

    async def _wait_for_rights(self, error: Exception) -> None:
        """Decide nothing while the rights cannot be confirmed; go on by itself."""
        if self.health.state is not LaneState.NO_LEASE:
            self._log.warning("lane_stopped_deciding", problem=str(error))
        self._set_state(LaneState.NO_LEASE, str(error))
        await asyncio.sleep(LOOK_S)
        if self._follower.problem is None:
            self._set_state(LaneState.RUNNING)
            self._log.info("lane_decides_again", version=self._follower.version)

    async def _failed(self, error: Exception) -> None:
        """Say what happened, then wait before the start order."""
        self._failures += 1
        await self._deliverer.stop()
        self._metrics.transactions.labels(Outcome.ABANDONED.value).inc()
        topic = error.topic if isinstance(error, TransactionFailedError) else None
        needs_mending = topic is not None or isinstance(error, _NEEDS_MENDING)
        state = LaneState.BLOCKED if needs_mending else LaneState.STARTING
        self._set_state(state, str(error) or repr(error))
        fields = {"problem": str(error) or repr(error), "failures": self._failures}
        if topic is not None:
            fields["topic"] = topic
        if hint := getattr(error, "hint", ""):
            fields["hint"] = hint
        if needs_mending:
            self._log.error("lane_blocked", **fields)
        elif isinstance(error, TransactionFailedError) and error.fenced:
            self._log.warning("lane_fenced", **fields)
        elif isinstance(error, DeposedError):
            self._log.info("lane_not_ours_now", **fields)
        else:
            self._log.warning("lane_failed", **fields, kind=type(error).__name__)
        await self._back_off()

    async def _back_off(self) -> None:
        delay_s = min(BACKOFF_S_MAX, BACKOFF_S_FIRST * 2 ** min(self._failures - 1, 10))
        until = time.monotonic() + delay_s * random.uniform(0.5, 1.5)
        while not self._stopping and time.monotonic() < until:
            self.health.stepped_at = time.monotonic()
            await asyncio.sleep(min(1.0, max(0.0, until - time.monotonic())))

    def _set_state(self, state: LaneState, problem: str = "") -> None:
        self.health.stepped_at = time.monotonic()
        if (self.health.state, self.health.problem) != (state, problem):
            self.health.state, self.health.problem = state, problem
        self._metrics.set_lane_state(self.number, state)

    def _tenant_topics(self) -> list[str]:
        return [tenant.topic for tenant in self._follower.rights.tenants.values()]


def _route(
    records: list[ConsumerRecord], snapshot: RightsSnapshot, decided_at_ms: int, *, app_id: str
) -> RoutedBatch:
    return route_batch(records, snapshot, decided_at_ms, app_id=app_id)
