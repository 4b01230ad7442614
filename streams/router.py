"""The router: a member of the group `<app id>-router` that runs a task for each lane it is given.

The consumer here is only the membership: it never fetches (its partitions stay paused). Every
lane fetches with a client of its own, so a lane that starts over, or waits for its turn, holds
up no other, and a rebalance stops nobody who keeps its lanes:

- revoked: every lane comes to a stand between two transactions, or is stopped when it cannot;
- assigned: lanes that stayed go on, those that left end, new ones go through the start order.

That a lane which stayed need not start over rests on the fence: had somebody else run it in
between, its producer would be fenced, and the next transaction would lead to the start order.
"""

import asyncio
import random
from collections.abc import Iterable
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import ConsumerStoppedError, KafkaError, NoOffsetForPartitionError
from mode import Service

from streams import clients
from streams.assignor import lane_assignor
from streams.authorization_writer import AuthorizationWriter
from streams.errors import ConfigurationError, LogError, MidgateError
from streams.follower import Follower
from streams.garbage import BetweenBatches
from streams.health import WorkerHealth
from streams.label_store import LabelStores
from streams.lane import Lane, backoff_s
from streams.lanes import LaneLayout
from streams.logs import FRAMEWORK_LOG, get_logger
from streams.metrics import Metrics
from streams.settings import Settings

log = get_logger(__name__)

# How long a lane may take to finish its transaction when a rebalance waits for it. Well below
# the session time-out: a member that is late loses all its lanes.
HOLD_S_MAX = 3.0
# Everything after SIGTERM: lanes finish, clients close, the group is left.
STOP_S_MAX = 8.0
POLL_MS = 1000
# Between two looks at a log that is not read to its end yet.
LOOK_S = 0.1
# Between two attempts to be a member.
REJOIN_S = (0.5, 1.5)


class Router(Service):
    """Owns the follower and writer of this worker, the membership, and the lanes."""

    logger = FRAMEWORK_LOG

    def __init__(self, settings: Settings, metrics: Metrics, build: str, **options: Any) -> None:
        self.settings = settings
        self.metrics = metrics
        self.build = build
        self.lanes: dict[int, Lane] = {}
        self.follower: Follower | None = None
        self.writer: AuthorizationWriter | None = None
        self.garbage = BetweenBatches()
        self.label_stores = LabelStores(settings.stores.data_dir)
        self._layout: LaneLayout | None = None
        self._consumer: AIOKafkaConsumer | None = None
        self._endings: set[asyncio.Task[None]] = set()
        self._leaving = asyncio.Lock()
        self._joined = False
        self._problem: str | None = "the worker is starting"
        super().__init__(**options)

    @Service.task
    async def _run(self) -> None:
        follower = await self._start_following()
        layout = self._layout = await self._agreed_layout(follower) if follower else None
        if layout is None:
            return
        self._problem = None
        self.garbage.start()
        while not self.should_stop:
            try:
                await self._be_member(layout)
            except (KafkaError, MidgateError, OSError) as error:
                self._problem = f"not a member of the router's group: {error}"
                log.warning("router_left_group", problem=repr(error))
                await self.sleep(random.uniform(*REJOIN_S))

    async def _start_following(self) -> Follower | None:
        """Follow the log; an empty or foreign one ends the worker, anything else is waited out.
        None when the worker is told to stop before."""
        settings = self.settings
        while not self.should_stop:
            follower = self.follower = Follower(
                settings.kafka, settings.layout, settings.authorization, heartbeat=True
            )
            writer = self.writer = AuthorizationWriter(settings.kafka, settings.layout, follower)
            try:
                await follower.start()
                await writer.start()
                return follower
            except LogError as error:
                log.error("router_refused", problem=str(error), hint=error.hint)
                raise
            except (KafkaError, MidgateError, OSError) as error:
                self._problem = f"the authorization log cannot be followed: {error}"
                log.warning("follower_not_started", problem=repr(error))
                await follower.stop()
                await self.sleep(random.uniform(*REJOIN_S))
        return None

    async def _agreed_layout(self, follower: Follower) -> LaneLayout | None:
        """The log's layout, once the log has been read to its end; None when told to stop before.

        Before that nobody should give this worker a lane: it could only let it lie. What it waits
        for (an open transaction can hide the end) is the follower's problem on `/ready`.
        """
        while follower.problem is not None:
            if self.should_stop:
                return None
            self._problem = follower.problem
            await asyncio.sleep(LOOK_S)
        layout = follower.rights.layout
        if layout is None:
            raise ConfigurationError(
                "the authorization log holds no layout", hint="run `midgate topics apply`"
            )
        if layout.app_id != self.settings.layout.app_id:
            raise ConfigurationError(
                f"this worker's app id is {self.settings.layout.app_id}, "
                f"the log's layout says {layout.app_id}",
                hint="set MIDGATE_APP_ID to the log's, or MIDGATE_PREFIX to the right topics",
            )
        return LaneLayout(layout.app_id, layout.lanes, layout.partitions)

    async def _be_member(self, layout: LaneLayout) -> None:
        """Join, and stay until told to stop or until the membership cannot be kept."""
        raw = self.settings.layout.topics.raw
        consumer = self._consumer = self._membership(layout, raw)
        try:
            await clients.start(consumer, self.settings.kafka)
            consumer.subscribe([raw], listener=_Listener(self, consumer))
            log.info("router_joining", group=layout.router_group)
            while not self.should_stop:
                try:
                    # Returns nothing, as all is paused; it raises what went wrong in the group,
                    # and counts as a sign of life.
                    await consumer.getmany(timeout_ms=POLL_MS)
                except ConsumerStoppedError:
                    return
                except NoOffsetForPartitionError:
                    # The lane itself finds this, and says so with the hint.
                    await self.sleep(POLL_MS / 1000)
        finally:
            await self._leave()

    def _membership(self, layout: LaneLayout, raw: str) -> AIOKafkaConsumer:
        session_ms = self.settings.router.session_timeout_ms
        return clients.consumer(
            self.settings.kafka,
            group_id=layout.router_group,
            partition_assignment_strategy=(lane_assignor(raw, layout, lambda: list(self.lanes)),),
            session_timeout_ms=session_ms,
            rebalance_timeout_ms=session_ms,
            heartbeat_interval_ms=max(100, min(3000, session_ms // 4)),
            # What slips through before the pause is one batch.
            max_partition_fetch_bytes=1,
        )

    async def _leave(self) -> None:
        async with self._leaving:
            # Taken out first: a rebalance that ends meanwhile must not begin a lane.
            consumer, self._consumer = self._consumer, None
            self._joined = False
            await asyncio.gather(*(self._end(number) for number in list(self.lanes)))
            if consumer is not None:
                try:
                    async with asyncio.timeout(HOLD_S_MAX):
                        await consumer.stop()
                except (TimeoutError, KafkaError) as error:
                    log.warning("router_left_without_word", problem=repr(error))

    async def on_stop(self) -> None:
        """Finish or drop what is open, close the clients, leave the group; all within bounds."""
        try:
            async with asyncio.timeout(STOP_S_MAX):
                await self._leave()
                if self._endings:
                    await asyncio.wait(self._endings)
                if self.writer is not None:
                    await self.writer.stop()
                if self.follower is not None:
                    await self.follower.stop()
        except TimeoutError:
            log.warning("router_stop_cut_short", bound_s=STOP_S_MAX)
        self.garbage.stop()
        log.info("router_stopped")

    async def revoked(self, consumer: AIOKafkaConsumer) -> None:
        """Bring every lane to a stand; one that cannot within the bound is stopped."""
        if consumer is not self._consumer:
            return
        self._joined = False
        lanes = list(self.lanes.values())
        stood = await asyncio.gather(*(lane.hold(HOLD_S_MAX) for lane in lanes))
        for lane, held in zip(lanes, stood, strict=True):
            if not held:
                self._end_aside(lane.number)

    async def assigned(
        self, consumer: AIOKafkaConsumer, partitions: Iterable[TopicPartition]
    ) -> None:
        """Let lanes that stayed go on, end those that left, start the new ones.

        Does nothing for a membership that is being left, or was.
        """
        layout = self._layout
        if self._consumer is None or consumer is not self._consumer:
            return
        assert layout is not None, "members know their layout"
        consumer.pause(*partitions)
        ours = layout.whole_lanes(tp.partition for tp in partitions)
        for number in [number for number in self.lanes if number not in ours]:
            self._end_aside(number)
        for number in ours:
            if number in self.lanes:
                self.lanes[number].release()
            else:
                self._begin(number, layout)
        self._joined = True
        log.info("lanes_assigned", lanes=ours)

    def _begin(self, number: int, layout: LaneLayout, instead_of: Lane | None = None) -> None:
        assert self.follower is not None, "the follower runs before anybody joins"
        assert self.writer is not None, "the writer runs before anybody joins"
        lane = self.lanes[number] = Lane(
            number,
            layout,
            self.settings,
            follower=self.follower,
            writer=self.writer,
            metrics=self.metrics,
            garbage=self.garbage,
            stores=self.label_stores,
            still_owner=lambda: self.still_owner(number),
            on_ended=self._lane_ended,
            build=self.build,
        )
        if instead_of is not None:
            lane.report.follows(instead_of.report)
        lane.start()

    def _lane_ended(self, lane: Lane) -> None:
        """A lane's task died under it: begin the lane anew after a wait, while it is still ours."""

        def begin() -> None:
            ours = self.lanes.get(lane.number) is lane
            if ours and self._layout is not None and not self.should_stop:
                self._begin(lane.number, self._layout, instead_of=lane)

        asyncio.get_running_loop().call_later(backoff_s(lane.report.failures), begin)

    async def _end(self, number: int) -> None:
        lane = self.lanes.pop(number, None)
        if lane is not None:
            await lane.stop(HOLD_S_MAX)
            if number not in self.lanes:
                self.metrics.forget_lane(number)

    def _end_aside(self, number: int) -> None:
        """End a lane without keeping the group waiting; its next owner fences it in any case."""
        ending = asyncio.create_task(self._end(number))
        self._endings.add(ending)
        ending.add_done_callback(self._endings.discard)

    async def still_owner(self, number: int) -> bool:
        """True when a heartbeat sent now was answered and the lane is still ours.

        A lane asks after every failure, before it fences anybody: two owners that do not ask
        fence each other in turn, and one sends again what the other did.
        """
        consumer, layout = self._consumer, self._layout
        if consumer is None or layout is None or not self._joined:
            return False
        coordinator = consumer._coordinator
        try:
            answered = await coordinator._do_heartbeat()
        except KafkaError as error:
            log.warning("heartbeat_refused", lane=number, problem=repr(error))
            return False
        if not answered or coordinator._rejoin_needed_fut.done() or not self._joined:
            return False
        ours = layout.whole_lanes(tp.partition for tp in consumer.assignment())
        return number in ours and number in self.lanes

    def look(self) -> WorkerHealth:
        """A picture of this worker for its pages."""
        health = WorkerHealth(
            lanes={number: lane.report.health for number, lane in self.lanes.items()},
            joined=self._joined,
            problem=self._problem,
            lease_s_max=self.settings.authorization.authorization_staleness_s_max,
        )
        follower = self.follower
        if follower is not None:
            health.problem = self._problem or follower.problem
            health.log_id = follower.rights.log_id
            health.version = follower.version
            health.lease_age_s = follower.lease_age_s()
            health.clock_offset_s = follower.clock_offset_s
        return health


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    """aiokafka logs and swallows what a listener raises; so it only hands over."""

    def __init__(self, router: Router, consumer: AIOKafkaConsumer) -> None:
        self._router = router
        self._consumer = consumer

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        await self._router.revoked(self._consumer)

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        await self._router.assigned(self._consumer, assigned)
