"""The one thing that may place records in a tenant topic: a registered transactional id.

Start order: the only way into work, and the only way on after *any* failure, fence, time-out or
unknown outcome. Nothing decided before is sent again; it is decided again.

0. The group, asked after the failure and after some jitter, still gives us the input. Two owners
   that do not ask fence each other in turn, and one sends again what the other did.
1. The old producer's client is closed, its sender killed. A new producer is initialised with the
   same id: this fences the old owner and settles its transaction.
2. What the lane has acknowledged is fetched: a log that lacks it is refused. (The old owner's
   transaction is settled, so the answer is not the one before it.) Then a transaction that holds
   only a nonce and that same evidence, under our acknowledgement key; then the committed offsets
   are fetched until the nonce is seen. The raw offsets of that same answer count.
3. The barrier is a write: the registration is appended to the authorization log, and nothing is
   decided before our own follower has read this very nonce back, accepted.

Each batch, on one immutable snapshot of the rights. Killed after the step? The next owner's start
settles it, and in every case but 8 the batch is then decided again, from the committed offsets:

1. Take the snapshot and its version v.               Killed: nothing is open.
2. Begin.                                             Killed: nothing is open at the broker.
3. Commit v, in the metadata of our acknowledgement   Killed: an empty transaction is open; it is
   key, with the transaction. From here on the        aborted by the next start or the broker's
   broker's time-out runs.                            time-out. The acknowledgement goes with it.
4. Read the clock; the snapshot's own confirmation    Killed: as after 3.
   must lie within the lease. Frozen before 3, this
   check stops us; frozen after it, the broker does.
5. Route in the pure core; then commit, with the      Killed: as after 3; offsets of an open
   transaction, the raw offsets as far as was         transaction are not seen by anybody.
   routed, with the clock reading.
6. Send a batch per output partition, and the ledger  Killed: records of an open transaction are
   entries.                                           not seen by `read_committed` readers.
7. Await every batch; any error means no commit.      Killed: as after 6.
8. Commit.                                            Killed: either all of it counts, and the
                                                      next start reads offsets behind it, or none.
9. Return; only now may the caller apply the batch's  Killed: committed; what the caller keeps in
   changes to anything that a decision reads.         memory is read again at the next start.

Raw offsets come in a second request, as only routing knows how far the batch goes within its
bytes, and only step 4 knows the clock reading that later batches may not fall below. Both requests
precede the records: on Kafka 4.x the answer 13 can fail an offset commit that comes after them.
"""

import asyncio
import random
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Generic

from aiokafka import TopicPartition

from streams.acknowledged import acknowledged, refuse_lost_log, shows_nonce, start_mark
from streams.batch_size import BatchSize
from streams.delivery import (
    NO_LABELS,
    Delivered,
    DelivererIdentity,
    DeposedError,
    FollowerOf,
    LabelState,
    MissingOffsetError,
    RecordT,
    Routed,
    RoutedT,
    Snapshot,
    SnapshotT,
    StartPoint,
    Writer,
    acknowledging,
    check_lease,
    input_offsets,
    ledger_records,
    reached,
    refuse_void,
    registration,
    start_points,
)
from streams.errors import LeaseExpiredError
from streams.group_offsets import Offsets, await_offsets
from streams.placement import mark_start, place
from streams.settings import KafkaSettings, RouterSettings
from streams.transactions import (
    TRANSACTION_BYTES_MAX,
    TransactionalProducer,
    TransactionFailedError,
)

__all__ = [
    "Delivered",
    "Deliverer",
    "DelivererIdentity",
    "DeposedError",
    "MissingOffsetError",
    "StartPoint",
]

# Markers take milliseconds; a moving coordinator seconds.
NONCE_S_MAX = 10.0
# Append, read back, verdict. Includes a follower that is held up by a foreign transaction.
REGISTER_S_MAX = 10.0
ADD_TOPICS_S_MAX = 10.0
# Whatever the setting says: records take a few bytes more in a batch than by themselves, and a
# batch that the producer refuses would be refused again and again.
BYTES_OUT_MAX = TRANSACTION_BYTES_MAX * 3 // 4
# Before asking the group again after a failure: so that of two owners one asks first.
RESTART_JITTER_S = (0.05, 0.5)


class Deliverer(Generic[SnapshotT]):
    """A transactional id at work. One task uses it: `start`, then `deliver` and `acknowledge`.

    Any exception leaves it either as it was (`started` is true: the rights could not be used
    just now) or in need of `start`.
    """

    def __init__(
        self,
        identity: DelivererIdentity,
        *,
        kafka: KafkaSettings,
        router: RouterSettings,
        follower: FollowerOf[SnapshotT],
        writer: Writer,
        still_owner: Callable[[], Awaitable[bool]],
        tenant_topics: Callable[[], Iterable[str]],
        clock_ms: Callable[[], int],
        monotonic: Callable[[], float],
    ) -> None:
        self.identity = identity
        self.size = BatchSize(
            records_max=router.batch_records_max,
            bytes_out_max=min(router.batch_bytes_out_max, BYTES_OUT_MAX),
        )
        self._kafka = kafka
        self._router = router
        self._follower = follower
        self._writer = writer
        self._still_owner = still_owner
        self._tenant_topics = tenant_topics
        self._clock_ms = clock_ms
        self._monotonic = monotonic
        self._producer: TransactionalProducer | None = None
        self._started = False
        self._failed_before = False
        self._nonce = ""
        self._change_id = b""
        self._next: dict[int, int] = {}
        self._decided_at_ms = 0
        self._topics_version = -1
        self._topics_asked: set[str] = set()
        self.acknowledged_version = -1

    @property
    def nonce(self) -> str:
        """Of the last start that succeeded."""
        return self._nonce

    @property
    def started(self) -> bool:
        """Whether `deliver` and `acknowledge` may be called; otherwise only `start` leads on."""
        return self._started

    async def start(self) -> dict[int, StartPoint]:
        """Run the start order once; answers where each input partition goes on.

        The caller must drop what it fetched and seek there. Raises DeposedError (not ours),
        ChangeVoidError (the log's layout has no place for us: stop), MissingOffsetError (stop),
        WrongLogError (the log lacks what this lane has acknowledged: stop), or any MidgateError:
        try again. All steps are bounded.
        """
        await self.stop()
        # Who cannot decide has no reason to fence anybody, or to append registrations.
        self._check_following()
        # Step 0: still ours, by an answer given after the failure.
        if self._failed_before:
            await asyncio.sleep(random.uniform(*RESTART_JITTER_S))
        self._failed_before = True
        if not await self._still_owner():
            raise DeposedError(f"{self.identity.transactional_id} is not ours any more")
        try:
            # Step 1: a new producer; this fences the old owner.
            producer = self._producer = await self._open()
            registered_as = (producer.producer_id, producer.producer_epoch)
            # Step 2: offsets from behind our own nonce.
            nonce = uuid.uuid4().hex
            offsets = await self._offsets_behind(nonce, producer)
            points = start_points(self.identity, offsets)
            # Step 3: the barrier is a write.
            await self._register(nonce, registered_as)
        except BaseException:
            await self.stop()
            raise
        self._nonce = nonce
        self._next = {partition: point.offset for partition, point in points.items()}
        floors = [point.decided_at_ms for point in points.values()]
        self._decided_at_ms = max(self._decided_at_ms, *floors)
        self.acknowledged_version = -1
        self._started = True
        return points

    async def stop(self) -> None:
        """Close the producer, within about a second; what is open is for the next start."""
        self._started = False
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.close()

    async def deliver(
        self,
        records: Sequence[RecordT],
        route: Callable[[Sequence[RecordT], SnapshotT, int, int], RoutedT],
        labels: LabelState = NO_LABELS,
    ) -> Delivered[RoutedT]:
        """Decide and place a prefix of `records` in one transaction; see the module's steps.

        `records` are in order of offset within each partition and go on where the last batch
        ended; `route(records, snapshot, decided_at_ms, bytes_out_max)` is pure, and stops before
        the record that would bring it above the bytes, unless that is the first. Without records
        it decides held events alone. `labels` is what it decides on. Returning means committed. The
        rest must be given again.
        """
        producer = self._working()
        # Step 1: the snapshot, and all that can be refused before anything is open.
        snapshot = self._snapshot()
        self._check_lease(snapshot)
        try:
            await self._learn_topics(producer, snapshot.version)
            # Step 2.
            await producer.begin()
            # Step 3: from here on the broker's time-out runs.
            await producer.send_offsets(self._ack(producer, snapshot), self.identity.group)
            # Step 4: the clock, and the lease of this very snapshot.
            decided_at_ms = max(self._decided_at_ms, self._clock_ms())
            self._check_lease(snapshot)
            # Step 5: route, and commit the raw offsets as far as was routed.
            routed = self._route(records, route, snapshot, decided_at_ms)
            after = reached(records[: routed.records], self._next)
            offsets = input_offsets(self.identity, {**self._next, **after}, decided_at_ms, labels)
            await producer.send_offsets(offsets, self.identity.group)
            # Step 6: outputs and ledger entries.
            await self._place(producer, routed, snapshot, after, decided_at_ms, labels)
            # Steps 7 and 8: await every batch, commit.
            await producer.commit()
        except BaseException as error:
            await self._lose(error)
            raise
        # Step 9.
        self.size.committed(routed.records, routed.bytes_out)
        self._next.update(after)
        self._decided_at_ms = decided_at_ms
        self.acknowledged_version = snapshot.version
        return Delivered(routed.records, routed, snapshot.version, decided_at_ms)

    async def acknowledge(self, labels: LabelState = NO_LABELS) -> int:
        """Commit only the acknowledgement and the present offsets; answers the version.

        For a deliverer without traffic: as soon as it sees a restricting change, and daily, as
        committed offsets and transactional ids expire after 7 days.
        """
        producer = self._working()
        snapshot = self._snapshot()
        offsets = input_offsets(self.identity, self._next, self._decided_at_ms, labels)
        try:
            await producer.begin()
            offsets.update(self._ack(producer, snapshot))
            await producer.send_offsets(offsets, self.identity.group)
            await producer.commit()
        except BaseException as error:
            await self._lose(error)
            raise
        self.acknowledged_version = snapshot.version
        return snapshot.version

    async def _lose(self, error: BaseException) -> None:
        """After a failure: nothing more is sent, and the next batch is smaller."""
        if isinstance(error, TransactionFailedError) and error.topic is None:
            self.size.failed()
        await self.stop()

    def _working(self) -> TransactionalProducer:
        assert self._started, "only start() leads here"
        assert self._producer is not None, "a started deliverer has a producer"
        return self._producer

    def _snapshot(self) -> SnapshotT:
        """The snapshot to decide on; refused when somebody registered our id after us."""
        latest = self._follower.rights.deliverers.get(self.identity.transactional_id)
        if latest is not None and latest.nonce != self._nonce:
            self._started = False
            raise DeposedError(
                f"{self.identity.transactional_id} was registered by somebody else after us"
            )
        # Without an await in between: the change lies below the snapshot's version.
        self._change_id = self._follower.rights.last_change_id
        return self._follower.snapshot()

    def _check_following(self) -> None:
        problem = self._follower.problem
        if problem is not None:
            raise LeaseExpiredError(f"nothing may be decided: {problem}")

    def _check_lease(self, snapshot: Snapshot) -> None:
        self._check_following()
        check_lease(snapshot, self._monotonic(), self._follower.lease_max_s)

    async def _open(self) -> TransactionalProducer:
        names = self.identity.topics
        wanted = set(self._tenant_topics())
        self._topics_version, self._topics_asked = self._follower.version, wanted
        return await TransactionalProducer.open(
            self._kafka,
            self.identity.transactional_id,
            transaction_timeout_ms=self._router.transaction_timeout_ms,
            retry_backoff_ms=self._router.retry_backoff_ms,
            topics=wanted | names.of_lanes(),
            compression="lz4",
        )

    async def _learn_topics(self, producer: TransactionalProducer, version: int) -> None:
        """Learn the topics of tenants added since; one metadata request for all of them."""
        if version == self._topics_version:
            return
        added = set(self._tenant_topics()) - self._topics_asked
        if added:
            async with asyncio.timeout(ADD_TOPICS_S_MAX):
                await producer.add_topics(added)
            self._topics_asked |= added
        self._topics_version = version

    async def _offsets_behind(self, nonce: str, producer: TransactionalProducer) -> Offsets:
        identity, follower, client = self.identity, self._follower, producer.client
        found = await await_offsets(
            client, identity.group, [identity.ack], lambda offsets: True, timeout_s=NONCE_S_MAX
        )
        before = acknowledged(found.get(identity.ack))
        await refuse_lost_log(before, follower)
        await producer.begin()
        mark = start_mark(identity, nonce, before, follower.rights, follower.version)
        await producer.send_offsets(mark, identity.group)
        if identity.holds:
            await mark_start(producer, identity, nonce, self._clock_ms())
        await producer.commit()
        inputs = [
            TopicPartition(topic, partition)
            for topic in (identity.topics.raw, identity.topics.labels)
            for partition in identity.inputs
        ]
        return await await_offsets(
            client,
            identity.group,
            [identity.ack, *inputs],
            lambda offsets: shows_nonce(identity, nonce, offsets),
            timeout_s=NONCE_S_MAX,
        )

    async def _register(self, nonce: str, registered_as: tuple[int, int]) -> None:
        identity = self.identity
        change_id = uuid.uuid4().bytes
        change = registration(identity, nonce, registered_as, change_id)
        applied = await self._writer.append(change, change_id, timeout_s=REGISTER_S_MAX)
        refuse_void(identity, nonce, applied)

    def _ack(self, producer: TransactionalProducer, snapshot: Snapshot) -> Offsets:
        present = (producer.producer_id, producer.producer_epoch)
        return acknowledging(self.identity, self._nonce, present, snapshot, self._change_id)

    def _route(
        self,
        records: Sequence[RecordT],
        route: Callable[[Sequence[RecordT], SnapshotT, int, int], RoutedT],
        snapshot: SnapshotT,
        decided_at_ms: int,
    ) -> RoutedT:
        """Route as many records as fit the bytes; no more than those is ever built."""
        offered, bytes_out_max = records[: self.size.records()], self.size.bytes_out_max
        routed = route(offered, snapshot, decided_at_ms, bytes_out_max)
        done = routed.records + routed.holds.ended
        assert routed.records <= len(offered), "routing takes a prefix"
        assert done >= 1, "routing never takes nothing"
        assert routed.bytes_out <= bytes_out_max or done == 1, "routing keeps the bound"
        return routed

    async def _place(
        self,
        producer: TransactionalProducer,
        routed: Routed,
        snapshot: Snapshot,
        after: Mapping[int, int],
        decided_at_ms: int,
        labels: LabelState,
    ) -> None:
        spans = {
            partition: (self._next[partition], after.get(partition, self._next[partition]))
            for partition in after.keys() | routed.holds.partitions()
        }
        entries = ledger_records(
            self.identity, self._nonce, snapshot, spans, decided_at_ms, labels, routed.holds
        )
        await place(producer, self.identity.topics, routed, entries)
