"""Follows the authorization log: rights, version, freshness lease.

Two loops on connections of their own. *Reading* takes every record, in order, from a verified
local snapshot or from offset 0, and applies it. *Watching* asks the broker where the log ends,
dates the proof (`streams/lease.py`), appends a heartbeat when nothing else was appended, and finds
out who holds the log up. They meet in the version: all changes below it are applied.

The end is the *high watermark*, never the last stable offset: behind somebody's open transaction
a revocation can stand that a `read_committed` reader does not see yet, and confirming against
the last stable offset would call such a reader up to date.

Whatever cannot be followed stops the deciding, not the service: `problem` says why nothing may be
decided. Lost connections and open transactions pass, and following goes on by itself. A foreign
log, a log shorter than it was, or a record of a newer version do not: then following has ended,
the lease is gone at once, and only a restart (by somebody who knows why) helps.
"""

import asyncio
import contextlib
import random
from collections.abc import Callable, Sequence
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError, OffsetOutOfRangeError, TopicAuthorizationFailedError
from aiokafka.structs import TopicPartition

from streams import clients
from streams.applied_changes import AppliedChanges
from streams.ending import end_tasks
from streams.errors import (
    BrokerUnreachableError,
    EmptyLogError,
    LeaseExpiredError,
    LogError,
    MidgateError,
    NotAuthorizedError,
    UpgradeNeededError,
    WrongLogError,
)
from streams.garbage import collector_off
from streams.lease import NEVER, Lease
from streams.lease_clock import lease_clock
from streams.log_end import LogEnd
from streams.log_start import log_id_of
from streams.log_watch import HINT_WRONG_LOG, LogWatch
from streams.rights import Applied, Rights, RightsSnapshot
from streams.settings import AuthorizationSettings, KafkaSettings, LayoutSettings
from streams.snapshot_store import SnapshotStore

log = structlog.get_logger(__name__)

# Records applied between two chances for everybody else on the loop: some 20 ms.
CHUNK_RECORDS = 500
# Some 15,000 grants: few round trips for a long log, 50 ms to unpack.
FETCH_BYTES = 4 * 1024 * 1024
POLL_MS = 500
# A leader that was deposed while it still answers is left after so long at the latest.
METADATA_AGE_MS = 5_000
REOPEN_S = (0.1, 1.0)
CLOSE_S_MAX = 2.0
STOP_S_MAX = 8.0
READY_S_MAX = 30.0
# Changes (heartbeats do not count) after which the next start would read too long a tail.
SNAPSHOT_CHANGES = 10_000
# Below this a start gains nothing from a newer snapshot.
SNAPSHOT_CHANGES_AT_STOP = 100
HEARTBEAT = "HEARTBEAT"
WHAT_ENDED: dict[type[LogError], str] = {
    UpgradeNeededError: "upgrade needed",
    WrongLogError: "wrong log",
}


class Follower:
    """One follower in one process. `heartbeat=True` for all who decide by it.

    Without heartbeat nothing is ever appended, and fresh means only that the end of the log was
    confirmed: enough to show rights to people, not to decide by them.

    `on_applied` are called with every record applied, heartbeats too, in order, at once.
    `restricting_version` is the offset after the last restricting change (after a start from a
    snapshot: where the snapshot ends).
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        layout: LayoutSettings,
        authorization: AuthorizationSettings,
        *,
        heartbeat: bool,
    ) -> None:
        self.lease_max_s = authorization.authorization_staleness_s_max
        self.rights = Rights()
        self.restricting_version = 0
        self.on_applied: list[Callable[[Applied], None]] = []
        self._topic = layout.topics.authorization
        self._partition = TopicPartition(self._topic, 0)
        self._kafka = kafka
        folder = authorization.snapshot_dir
        self._store = SnapshotStore(folder, layout.prefix) if folder is not None else None
        self._changes = AppliedChanges()
        self._lease = Lease(self.lease_max_s, needs_appends=heartbeat)
        self._watch = LogWatch(
            kafka, self._topic, self._lease, lambda: self.version, self._changes.wake
        )
        self._setback: MidgateError | None = None
        self._ended: LogError | None = None
        self._short_since = NEVER
        self._unsaved = 0
        self._task: asyncio.Task[None] | None = None

    @property
    def version(self) -> int:
        """All changes below this offset are applied."""
        return self.rights.version

    @property
    def confirmed_at(self) -> float:
        """Instant (lease clock) up to which nothing was missed; `lease.NEVER` before the
        first proof and after the end of following."""
        return NEVER if self._ended is not None else self._lease.confirmed_at

    def lease_age_s(self) -> float:
        """Seconds since `confirmed_at`; infinite when there is none."""
        return lease_clock() - self.confirmed_at

    @property
    def clock_offset_s(self) -> float:
        """Seconds by which this machine's clock was ahead at our last heartbeat; NaN before."""
        return self._watch.clock_offset_s

    def snapshot(self) -> RightsSnapshot:
        """The rights now, unchangeable, with the instant of their own confirmation."""
        return self.rights.snapshot(self.confirmed_at)

    @property
    def problem(self) -> str | None:
        """Why nothing may be decided now; None when deciding is allowed."""
        if self._ended is not None:
            return f"{WHAT_ENDED.get(type(self._ended), 'following ended')}: {self._ended}"
        now = lease_clock()
        if self._lease.holds(now):
            return None
        cause = str(self._setback) if self._setback is not None else self._watch.cause(now)
        if self._lease.confirmed_at == NEVER:
            return f"authorization log not confirmed yet: {cause}"
        age_s = self._lease.age_s(now)
        return (
            f"authorization log not confirmed for {age_s:.1f} s (lease {self.lease_max_s:g} s): "
            f"{cause}"
        )

    async def start(self, *, ready_within_s: float | None = None) -> None:
        """Begin to follow; after `stop` it may begin again, where it stood.

        With heartbeat it returns at once, and `problem` tells how far it is. Without, or with
        `ready_within_s`, it returns when the log is read to its end, and raises what
        `wait_ready` raises. Raises ConfigurationError when no broker address is set.
        """
        assert self._task is None, "it follows already"
        clients.connection(self._kafka)
        self._task = asyncio.create_task(self._run(), name="authorization follower")
        if ready_within_s is None and not self._lease.needs_appends:
            ready_within_s = READY_S_MAX
        if ready_within_s is not None:
            try:
                await self.wait_ready(ready_within_s)
            except BaseException:
                await self.stop()
                raise

    async def stop(self) -> None:
        """Stop, within 8 s at the worst, and leave a snapshot if there is a folder for it."""
        task, self._task = self._task, None
        if task is None:
            return
        if not await end_tasks([task], STOP_S_MAX):
            log.warning("follower_did_not_end", topic=self._topic, bound_s=STOP_S_MAX)
        if self._ended is None and self._unsaved >= SNAPSHOT_CHANGES_AT_STOP:
            await self._save()

    async def wait_ready(self, timeout_s: float) -> None:
        """Until deciding is allowed.

        Raises at once what stands in the way: WrongLogError or UpgradeNeededError when following
        has ended, EmptyLogError, BrokerUnreachableError, NotAuthorizedError. Else LeaseExpiredError
        with `problem` after the time.
        """

        def ready() -> bool:
            if self._setback is not None and not isinstance(self._setback, LeaseExpiredError):
                raise self._setback
            return self.problem is None

        await self._wait(ready, timeout_s, "is not current")

    async def wait_for_version(self, version: int, timeout_s: float) -> None:
        """Until all changes below `version` are applied.

        Raises WrongLogError or UpgradeNeededError when following has ended, LeaseExpiredError
        with `problem` after the time.
        """
        await self._wait(
            lambda: self.version >= version, timeout_s, f"did not reach version {version}"
        )

    async def wait_for_change(self, change_id: bytes, timeout_s: float) -> Applied:
        """The verdict on a change, once a record of it was read since the start.

        Of one appended twice it is the first one's; `repeat` says that the first one lies before
        what this process has read or remembers. Raises as `wait_for_version`.
        """
        await self._wait(
            lambda: self._changes.get(change_id) is not None,
            timeout_s,
            f"did not meet change {change_id.hex()}",
        )
        applied = self._changes.get(change_id)
        assert applied is not None, "just met"
        return applied

    async def wait_changed(self, since_version: int, timeout_s: float | None = None) -> int:
        """The version, as soon as it is above `since_version`; raises as `wait_for_version`.
        Without `timeout_s` it is for background tasks that are cancelled at the end."""
        await self._wait(lambda: self.version > since_version, timeout_s, "met nothing new")
        return self.version

    async def wait_restricting(self, since_version: int, timeout_s: float | None = None) -> int:
        """`restricting_version`, as soon as it is above `since_version`; else `wait_changed`."""
        await self._wait(
            lambda: self.restricting_version > since_version, timeout_s, "met nothing restricting"
        )
        return self.restricting_version

    async def _wait(self, holds: Callable[[], bool], timeout_s: float | None, failure: str) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                while not holds():
                    if self._ended is not None:
                        raise self._ended
                    await self._changes.next()
        except TimeoutError:
            why = self.problem or f"it stands at version {self.version}"
            raise LeaseExpiredError(
                f"the follower of {self._topic} {failure} within {timeout_s} s: {why}",
                hint="`midgate doctor` shows the broker, the log and who holds it up",
            ) from None

    async def _run(self) -> None:
        """Follow; after anything that can pass, anew. What cannot pass ends following."""
        while True:
            try:
                await self._session()
            except EmptyLogError as error:
                self._setback = error
            except LogError as error:
                return self._end(error)
            except (KafkaError, OSError, MidgateError) as error:  # TimeoutError is an OSError
                self._setback = self._explained(error)
                log.warning("following_interrupted", topic=self._topic, problem=repr(error))
            except Exception as error:
                log.exception("following_failed", topic=self._topic)
                return self._end(LogError(f"the follower failed: {error!r}"))
            self._changes.wake()
            await asyncio.sleep(random.uniform(*REOPEN_S))

    def _end(self, error: LogError) -> None:
        """Nothing may rest on these rights any more, whatever the lease still allows."""
        self._ended = error
        log.error("following_ended", topic=self._topic, problem=str(error), hint=error.hint)
        self._changes.wake()

    def _explained(self, error: Exception) -> MidgateError:
        if isinstance(error, MidgateError):
            return error
        if isinstance(error, TopicAuthorizationFailedError):
            return NotAuthorizedError(f"{self._topic} may not be read by this principal")
        return BrokerUnreachableError(
            f"no broker that leads {self._topic} answers at {self._kafka.bootstrap}",
            hint=clients.ADDRESS_HINT,
        )

    async def _session(self) -> None:
        """One life of the connections; always ends with an error."""
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(self._watch.close)
            end = await self._watch.open()
            if not self.version:
                self._load(end)
            consumer = clients.consumer(
                self._kafka,
                max_partition_fetch_bytes=FETCH_BYTES,
                fetch_max_bytes=FETCH_BYTES,
                metadata_max_age_ms=METADATA_AGE_MS,
            )
            stack.push_async_callback(_stop, consumer)
            await clients.start(consumer, self._kafka)
            consumer.assign([self._partition])
            consumer.seek(self._partition, self.version)
            self._setback = None
            log.info("following", topic=self._topic, version=self.version, end=end.high_watermark)
            await _first_failure(self._read(consumer), self._watch.run())

    def _load(self, end: LogEnd) -> None:
        """Begin with the local snapshot, if there is a good one of this log."""
        assert end.start is not None, "an empty log is refused before"
        log_id = log_id_of(end.start)
        rights = self._store.load(log_id) if self._store is not None else None
        if rights is None:
            return
        if rights.version > end.high_watermark:
            self._refuse_short_log(end.high_watermark, rights.version)
        self._short_since = NEVER
        self.rights = rights
        self.restricting_version = rights.version
        log.info("snapshot_loaded", topic=self._topic, version=rights.version)

    def _refuse_short_log(self, end: int, version: int) -> None:
        """A log that ends below its local snapshot. As in `LogWatch`, a deposed leader can say so
        for a moment: LeaseExpiredError, which passes, until it has been said for a whole lease."""
        now = lease_clock()
        if self._short_since == NEVER:
            self._short_since = now
        what = (
            f"{self._topic} ends at {end}, but a local snapshot of it stands at version {version}"
        )
        if now - self._short_since > self.lease_max_s:
            raise WrongLogError(what, hint=HINT_WRONG_LOG)
        raise LeaseExpiredError(what, hint=HINT_WRONG_LOG)

    async def _read(self, consumer: AIOKafkaConsumer) -> None:
        while True:
            try:
                fetched = await consumer.getmany(self._partition, timeout_ms=POLL_MS)
            except OffsetOutOfRangeError as error:
                raise WrongLogError(
                    f"{self._topic} has no offset {self.version}, which is next to read",
                    hint=HINT_WRONG_LOG,
                ) from error
            records = fetched.get(self._partition, [])
            for first in range(0, len(records), CHUNK_RECORDS):
                with collector_off():
                    self._apply(records[first : first + CHUNK_RECORDS])
                await asyncio.sleep(0)
            self._pass_to(await consumer.position(self._partition))
            if not records and self._unsaved >= SNAPSHOT_CHANGES:  # not amid a long read
                await self._save()

    def _apply(self, records: Sequence[Any]) -> None:
        for record in records:
            applied = self.rights.apply(record.offset, record.timestamp, record.value)
            if applied.kind != HEARTBEAT:
                self._unsaved += 1
                self._changes.remember(applied)
            if applied.restricting:
                self.restricting_version = record.offset + 1
            for notify in self.on_applied:
                notify(applied)
        self._lease.arrived(records[-1].offset)
        self._lease.reached(self.version)
        self._changes.wake()

    def _pass_to(self, position: int) -> None:
        """Markers of transactions are no records, but they are part of the log."""
        if position > self.version:
            self.rights.version = position
            self._lease.reached(position)
            self._changes.wake()

    async def _save(self) -> None:
        """Leave a snapshot. Making and writing it takes a while, and is done off the loop."""
        self._unsaved = 0
        store = self._store
        if store is None:
            return
        log_id, image = self.rights.log_id, self.rights.image()
        await asyncio.to_thread(lambda: store.save(log_id, image.dump()))


async def _first_failure(*loops: Any) -> None:
    """Run loops that never return; raise what the first one of them raises."""
    tasks = [asyncio.create_task(loop) for loop in loops]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        await end_tasks(tasks, CLOSE_S_MAX)


async def _stop(consumer: AIOKafkaConsumer) -> None:
    """A consumer whose broker is gone can take for ever to say goodbye."""
    stopping = asyncio.create_task(consumer.stop())
    try:
        await asyncio.wait([stopping], timeout=CLOSE_S_MAX)
    finally:
        await end_tasks([stopping], CLOSE_S_MAX)
