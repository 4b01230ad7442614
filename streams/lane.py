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
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from aiokafka import TopicPartition

from streams.authorization_writer import AuthorizationWriter
from streams.deliverer import Deliverer
from streams.delivery import DelivererIdentity, DeposedError
from streams.errors import LeaseExpiredError, LogError
from streams.follower import Follower
from streams.garbage import BetweenBatches
from streams.label_desk import LabelDesk
from streams.label_store import LabelStores
from streams.lane_fetch import LaneFetch
from streams.lane_labels import LaneLabels
from streams.lane_report import LaneReport
from streams.lanes import LaneLayout
from streams.lease_clock import lease_clock
from streams.metrics import LaneState, Metrics, Outcome
from streams.raw_record import RawRecord
from streams.rights import RightsSnapshot
from streams.routing import RoutedBatch, route_batch
from streams.settings import Settings
from streams.transactions import TransactionFailedError

# Wait before the start order after the n-th failure in a row: doubled each time, with jitter.
BACKOFF_S_FIRST = 0.1
BACKOFF_S_MAX = 15.0
# Of a lane that somebody has to mend: each failed start leaves a registration in a log that is
# kept for ever, and nobody mends anything within seconds.
BACKOFF_S_MAX_BLOCKED = 60.0
# Between two looks at a lease that has expired, or at a gate that is shut.
LOOK_S = 0.05
# Routing has no await: a longer batch would make this worker late with heartbeats and the lease,
# which are proved on the same loop. A full batch takes a tenth or two of a second on an idle
# machine. Not fewer records than this, as each transaction has a price of its own, which on a
# machine that is too busy would make everything slower still.
ROUTE_S_MAX = 1.0
ROUTE_RECORDS_MIN = 2_000
# Committed offsets and transactional ids expire after 7 days.
IDLE_COMMIT_S = 86_400.0
# A cancelled lane closes a producer (1 s) and a consumer (3 s).
CANCEL_S_MAX = 5.0

# Failures that say nothing about the fetch; after any other the next start opens a new consumer.
_OF_THE_TRANSACTION = (TransactionFailedError, DeposedError, LeaseExpiredError)

# States in which a lane can come to a stand between two transactions.
_STANDING = (LaneState.RUNNING, LaneState.NO_LEASE, LaneState.HELD)


def backoff_s(failures: int, *, blocked: bool = False) -> float:
    """Seconds to wait after so many failures in a row, with jitter."""
    longest_s = BACKOFF_S_MAX_BLOCKED if blocked else BACKOFF_S_MAX
    delay_s: float = min(longest_s, BACKOFF_S_FIRST * 2 ** min(max(0, failures - 1), 10))
    return delay_s * random.uniform(0.5, 1.5)


def now_ms() -> int:
    """The wall clock, Unix ms."""
    return time.time_ns() // 1_000_000


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
        stores: LabelStores,
        still_owner: Callable[[], Awaitable[bool]],
        on_ended: Callable[["Lane"], None],
        build: str,
    ) -> None:
        names = settings.layout.topics
        self.number = number
        self.report = LaneReport(number, metrics)
        self._follower = follower
        self._garbage = garbage
        self._on_ended = on_ended
        self._fetch = LaneFetch(settings.kafka, names.raw, layout.partitions_of(number))
        self._labels = LaneLabels(
            settings.kafka,
            names,
            layout.partitions_of(number),
            settings.labels,
            stores,
            on_step=self.report.step,
        )
        self._app_id = layout.app_id
        self._record_s = 0.0
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
            clock_ms=now_ms,
            monotonic=lease_clock,
        )
        self._waiting: list[RawRecord] = []
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
        self._task.add_done_callback(self._ended)

    async def hold(self, timeout_s: float) -> bool:
        """Come to a stand between two transactions; False when that is not to be had in time."""
        self._go.clear()
        if self.report.state not in _STANDING:
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
        if self.report.state in _STANDING:
            await asyncio.wait([task], timeout=timeout_s)
        task.cancel()
        await asyncio.wait([task], timeout=CANCEL_S_MAX)
        self.report.stopped()

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
            await self._fetch.close()
            await self._labels.close()

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A task that ends unasked (a stray cancellation is enough) must not end in silence."""
        error = None if task.cancelled() else task.exception()
        if not self._stopping:
            cause = "it was cancelled" if task.cancelled() else repr(error)
            self.report.ended(f"the lane's task ended: {cause}")
            self._on_ended(self)

    async def _rights_confirmed(self) -> None:
        """Before a start: a registration could not be read back, and each try appends one."""
        while not self._stopping and self._follower.problem is not None:
            self.report.enter(LaneState.STARTING, self._follower.problem)
            await asyncio.sleep(LOOK_S)

    async def _start_order(self) -> None:
        self.report.starting()
        self._fetch.pause()
        self._waiting.clear()
        await self._fetch.open()
        await self._labels.take_over()
        points = await self._deliverer.start()
        offsets = {partition: point.offset for partition, point in points.items()}
        await self._labels.start(points, self._deliverer.nonce)
        self.report.held(self._labels.events)
        self._fetch.seek(offsets)
        self.report.started(offsets, self._follower.version)

    async def _one_turn(self) -> None:
        """At most one transaction; comes to a stand first when asked to."""
        self.report.step()
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
        await self._labels.take()
        missing = self._limit() - len(self._waiting)
        if missing > 0:
            self._waiting += await self._fetch.collect(missing, fill=lambda: not self._urgent())
        if self._waiting or self._labels.has_work(now_ms()):
            # Asked again, as a restricting change may have come meanwhile.
            await self._deliver(self._waiting[: self._limit()])
        elif self._urgent() or time.monotonic() - self._committed_at > IDLE_COMMIT_S:
            await self._deliverer.acknowledge(self._labels.state)
            self._committed(Outcome.ACKNOWLEDGED)
        self.report.lag(self._fetch.backlog() + len(self._waiting))
        self._garbage.after_batch()

    def _urgent(self) -> bool:
        """Whether a restricting change waits to be acknowledged."""
        return self._follower.restricting_version > self._deliverer.acknowledged_version

    def _limit(self) -> int:
        """The most records that the next transaction may take now."""
        return min(self._deliverer.size.records(urgent=self._urgent()), self._routable())

    def _routable(self) -> int:
        """Records that can be routed without keeping everybody else on the loop waiting."""
        if self._record_s <= 0:
            return ROUTE_RECORDS_MIN
        return max(ROUTE_RECORDS_MIN, int(ROUTE_S_MAX / self._record_s))

    def _route(
        self,
        records: Sequence[RawRecord],
        snapshot: RightsSnapshot,
        decided_at_ms: int,
        bytes_out_max: int,
        *,
        desk: LabelDesk,
    ) -> RoutedBatch:
        began = time.perf_counter()
        routed = route_batch(
            records,
            snapshot,
            decided_at_ms,
            app_id=self._app_id,
            bytes_out_max=bytes_out_max,
            desk=desk,
        )
        self._record_s = (time.perf_counter() - began) / max(1, routed.records + routed.holds.ended)
        return routed

    async def _deliver(self, records: list[RawRecord]) -> None:
        began = time.perf_counter()
        desk = await self._labels.desk(records, now_ms())
        route = partial(self._route, desk=desk)
        delivered = await self._deliverer.deliver(records, route, self._labels.state)
        seconds = time.perf_counter() - began
        del self._waiting[: delivered.records]
        self._labels.committed(delivered.routed.holds)
        self._committed(Outcome.COMMITTED)
        self.report.delivered(records[: delivered.records], delivered.routed, seconds)
        self.report.held(self._labels.events)

    def _committed(self, outcome: Outcome) -> None:
        self._committed_at = time.monotonic()
        self.report.committed(outcome)

    async def _stand(self) -> None:
        self.report.enter(LaneState.HELD)
        self._stands.set()
        while not self._go.is_set() and not self._stopping:
            self.report.step()
            await asyncio.sleep(LOOK_S)
        self._stands.clear()
        self.report.enter(LaneState.RUNNING)

    async def _wait_for_rights(self, error: Exception) -> None:
        """Decide nothing while the rights cannot be confirmed; go on by itself."""
        self.report.no_lease(str(error))
        await asyncio.sleep(LOOK_S)
        if self._follower.problem is None:
            self.report.lease_again(self._follower.version)

    async def _failed(self, error: Exception) -> None:
        """Close what is open, say what happened, then wait before the start order."""
        await self._deliverer.stop()
        self.report.failed(error)
        if not isinstance(error, _OF_THE_TRANSACTION):
            await self._fetch.close()
            await self._labels.close()
        blocked = self.report.state is LaneState.BLOCKED
        until = time.monotonic() + backoff_s(self.report.failures, blocked=blocked)
        while not self._stopping and time.monotonic() < until:
            self.report.step()
            await asyncio.sleep(min(1.0, max(0.0, until - time.monotonic())))

    def _tenant_topics(self) -> list[str]:
        return [tenant.topic for tenant in self._follower.rights.tenants.values()]
