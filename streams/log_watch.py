"""Watches the end of the authorization log: dates the proof of freshness, keeps the log moving,
and says what is in the way."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import structlog
from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError

from streams.errors import EmptyLogError, WrongLogError
from streams.heartbeats import Heartbeats
from streams.lease import NEVER, Lease
from streams.lease_clock import lease_clock
from streams.log_end import LogClient, LogEnd
from streams.settings import KafkaSettings

log = structlog.get_logger(__name__)

# Ten questions a lease: one lost answer costs a tenth of it. At least one a second, so that a
# reader of `problem` soon sees what is wrong even when the lease is long.
QUESTIONS_A_LEASE = 10
QUESTION_S_MAX = 1.0
HINT_APPLY = "run `midgate topics apply`"
HINT_WRONG_LOG = (
    "find out what was removed, truncated or restored on the broker before anything is delivered"
)


class LogWatch:
    """Asks where the log ends, again and again; all it learns goes into the lease.

    `trouble` is what keeps the proof from coming, in words; empty when nothing does.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        topic: str,
        lease: Lease,
        version: Callable[[], int],
        looked: Callable[[], None],
    ) -> None:
        self.trouble = ""
        # A dead connection must be noticed well within the lease, not after a client's time-out.
        timeout_ms = min(kafka.request_timeout_ms, max(1000, round(lease.length_s * 500)))
        self._kafka = kafka = kafka.model_copy(update={"request_timeout_ms": timeout_ms})
        self._topic = topic
        self._lease = lease
        self._version = version
        self._looked = looked
        self._patience_s = kafka.request_timeout_ms / 1000
        self._heartbeats = Heartbeats(kafka, topic, timeout_s=self._patience_s)
        self._jitter = random.random()
        self._client: LogClient | None = None
        self._start: bytes | None = None
        self._short_since = NEVER

    @property
    def clock_offset_s(self) -> float:
        """This machine's clock minus the broker's, at the last heartbeat; NaN before."""
        return self._heartbeats.clock_offset_s

    async def open(self) -> LogEnd:
        """Connect and ask for the first time.

        Raises EmptyLogError, WrongLogError; KafkaError, OSError or TimeoutError when no broker
        that leads the log answers.
        """
        self._client = LogClient(
            self._kafka, self._topic, metadata_max_age_ms=self._kafka.request_timeout_ms
        )
        async with asyncio.timeout(self._patience_s):
            await self._client.open()
        return await self._ask(self._client.first_end)

    async def close(self) -> None:
        """Close the connections."""
        await self._heartbeats.stop()
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def run(self) -> None:
        """Ask until WrongLogError, or until nobody has answered for a whole lease: then the last
        KafkaError, OSError or TimeoutError, as new connections may be what is needed."""
        assert self._client is not None, "opened first"
        interval_s = min(self._lease.length_s / QUESTIONS_A_LEASE, QUESTION_S_MAX)
        answered_at = lease_clock()
        while True:
            try:
                end = await self._ask(self._client.end)
                answered_at = lease_clock()
                self.trouble = await self._in_the_way(self._client, end)
            except EmptyLogError as error:
                self.trouble = str(error)
            except (KafkaError, OSError, TimeoutError) as error:
                self.trouble = f"the broker does not say where it ends ({_words(error)})"
                if lease_clock() - answered_at > self._lease.length_s:
                    raise
            self._keep_moving()
            self._looked()
            await asyncio.sleep(interval_s * random.uniform(0.8, 1.2))

    def cause(self, now: float) -> str:
        """Why the lease has run out, as far as known."""
        if self.trouble:
            return self.trouble
        if self._lease.needs_appends and now - self._lease.end_at <= self._lease.length_s:
            why = self._heartbeats.trouble or "a heartbeat is under way"
            return f"the broker answers, but no new record arrives: {why}"
        return f"read up to version {self._version()}"

    async def _ask(self, question: Callable[[], Awaitable[LogEnd]]) -> LogEnd:
        version = self._version()
        asked_at = lease_clock()
        try:
            async with asyncio.timeout(self._patience_s):
                end = await question()
        except UnknownTopicOrPartitionError as error:
            raise EmptyLogError(f"{self._topic} does not exist", hint=HINT_APPLY) from error
        self._refuse_another_log(end)
        if not end.high_watermark and not version:
            raise EmptyLogError(f"{self._topic} is empty", hint=HINT_APPLY)
        if end.high_watermark < version:
            self._refuse_short_log(end.high_watermark, version, asked_at)
        else:
            self._short_since = NEVER
            self._lease.answered(asked_at, end.high_watermark, self._version())
        return end

    def _refuse_another_log(self, end: LogEnd) -> None:
        if end.start is None:
            return
        if self._start is not None and end.start != self._start:
            raise WrongLogError(
                f"{self._topic} was made anew while it was followed",
                hint=HINT_WRONG_LOG,
            )
        self._start = end.start

    def _refuse_short_log(self, end: int, version: int, now: float) -> None:
        """A log that ends below what was read from it. A deposed leader can say so for a moment,
        so it must be said for a whole lease, in which nothing is confirmed."""
        if self._short_since == NEVER:
            self._short_since = now
            log.warning("log_ends_below_version", end=end, version=version)
        if now - self._short_since > self._lease.length_s:
            raise WrongLogError(
                f"{self._topic} ends at {end}, but version {version} was read from it",
                hint=HINT_WRONG_LOG,
            )

    async def _in_the_way(self, client: LogClient, end: LogEnd) -> str:
        """What keeps a reader below the end: usually nothing, or records on their way here."""
        version = self._version()
        if end.high_watermark < version:
            return f"it ends at {end.high_watermark}, below version {version} that was read from it"
        if end.high_watermark == version:
            return ""
        async with asyncio.timeout(self._patience_s):
            stable = await client.last_stable_offset()
            if stable >= end.high_watermark or self._version() < stable:
                return ""
            holders = await client.open_transactions()
        if not holders:
            return ""
        first = holders[0]
        wrote = datetime.fromtimestamp(first.last_timestamp_ms / 1000, UTC)
        return (
            f"held up by an open transaction of producer id {first.producer_id} at offset "
            f"{first.start_offset} (last wrote {wrote:%Y-%m-%d %H:%M:%S} UTC)"
        )

    def _keep_moving(self) -> None:
        now = lease_clock()
        if self._start is not None and self._lease.heartbeat_due(now, self._jitter):
            self._lease.beaten(now)
            self._jitter = random.random()
            self._heartbeats.beat()


def _words(error: BaseException) -> str:
    return "it does not answer" if isinstance(error, TimeoutError) else str(error) or repr(error)
