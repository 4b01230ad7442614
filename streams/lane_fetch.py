"""What a lane reads: its raw partitions, by a consumer of its own outside any group.

Positions come from the start order only (`seek`), never from the broker's idea of them; what had
been fetched before a seek is dropped by aiokafka, as its offsets do not follow on.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from streams import clients
from streams.ending import end_tasks
from streams.errors import MidgateError
from streams.raw_fetcher import yield_raw_records
from streams.raw_record import RawRecord
from streams.settings import KafkaSettings

# One fetch brings this much of each partition, compressed; about 20,000 events in practice, so
# that a full batch needs one answer while the next is already under way.
PARTITION_FETCH_BYTES = 4 * 1024 * 1024
# The longest the broker sits on a fetch without data. Short, as a seek has to wait for it.
FETCH_WAIT_MS = 100
# A lane wakes this often without data: for acknowledgements, the lease, and signs of life.
IDLE_POLL_MS = 50
# With a backlog, wait this long for more to fill the batch, this many times.
FILL_POLL_MS = 20
FILL_ROUNDS_MAX = 8
CLOSE_S_MAX = 2.0
# To end a close that hangs, and to close the connections that it left open.
FORCE_CLOSE_S_MAX = 0.5


class FetchEndedError(MidgateError):
    """The consumer's background fetching has ended: it would return nothing for ever. Only a new
    consumer helps."""


class LaneFetch:
    """Records of one lane, in order for each partition."""

    def __init__(self, kafka: KafkaSettings, raw_topic: str, partitions: Sequence[int]) -> None:
        self.partitions = tuple(TopicPartition(raw_topic, number) for number in partitions)
        self._kafka = kafka
        self._consumer: AIOKafkaConsumer | None = None

    async def open(self) -> None:
        """Connect, paused; does nothing when connected. Raises BrokerUnreachableError."""
        if self._consumer is not None:
            return
        consumer = clients.consumer(
            self._kafka,
            isolation_level="read_committed",
            max_partition_fetch_bytes=PARTITION_FETCH_BYTES,
            fetch_max_wait_ms=FETCH_WAIT_MS,
        )
        try:
            await clients.start(consumer, self._kafka)
        except BaseException:
            await consumer.stop()
            raise
        yield_raw_records(consumer)
        consumer.assign(self.partitions)
        consumer.pause(*self.partitions)
        self._consumer = consumer

    def pause(self) -> None:
        """Fetch nothing more until the next `seek`."""
        if self._consumer is not None:
            self._consumer.pause(*self.partitions)

    def seek(self, offsets: Mapping[int, int]) -> None:
        """Go on from these offsets, one for every partition; drops what was fetched."""
        consumer = self._started()
        for partition in self.partitions:
            consumer.seek(partition, offsets[partition.partition])
        consumer.resume(*self.partitions)

    async def collect(self, records_max: int, *, fill: Callable[[], bool]) -> list[RawRecord]:
        """The next records, at most `records_max`; empty when none came within a short wait.

        In order within each partition. With a backlog the batch is filled up for as long as `fill`
        says so, as every transaction costs a marker in every tenant partition it touches; without
        a backlog, what is there goes at once.
        Raises KafkaError, also for an offset out of range (never reset), and FetchEndedError.
        """
        consumer = self._started()
        records: list[RawRecord] = []
        wait_ms, rounds = IDLE_POLL_MS, 1 + FILL_ROUNDS_MAX
        while rounds > 0 and len(records) < records_max:
            fetched = await consumer.getmany(
                *self.partitions, timeout_ms=wait_ms, max_records=records_max - len(records)
            )
            if not fetched:
                _check_fetching(consumer)
            for batch in fetched.values():
                records += batch
            if not records or self.backlog() == 0 or not fill():
                break
            wait_ms, rounds = FILL_POLL_MS, rounds - 1
        return records

    def backlog(self) -> int:
        """Offsets up to the last stable one that were not taken yet, as far as known."""
        consumer = self._started()
        assigned = consumer._subscription.subscription.assignment
        behind = 0
        for partition in self.partitions:
            state = assigned.state_value(partition)
            if state.has_valid_position and state.lso is not None:
                behind += max(0, state.lso - state.position)
        return behind

    async def close(self) -> None:
        """Close the client; bounded, and without errors."""
        consumer, self._consumer = self._consumer, None
        if consumer is None:
            return
        # In a task of its own: fetching that has died hands its error, or its cancellation, to
        # whoever stops the consumer, and the connections stay open.
        stopping = asyncio.create_task(consumer.stop())
        try:
            await asyncio.wait([stopping], timeout=CLOSE_S_MAX)
        finally:
            await end_tasks([stopping], FORCE_CLOSE_S_MAX)
        if not stopping.done() or stopping.cancelled() or stopping.exception() is not None:
            with suppress(KafkaError, OSError):  # TimeoutError is an OSError
                async with asyncio.timeout(FORCE_CLOSE_S_MAX):
                    await consumer._client.close()

    def _started(self) -> AIOKafkaConsumer:
        assert self._consumer is not None, "opened before use"
        return self._consumer


def _check_fetching(consumer: AIOKafkaConsumer) -> None:
    """aiokafka's consumer does not look at the task that fetches for it."""
    fetching: asyncio.Task[None] = consumer._fetcher.error_future
    if not fetching.done():
        return
    cause = None if fetching.cancelled() else fetching.exception()
    raise FetchEndedError(f"fetching from raw has ended: {cause or 'it was cancelled'}") from cause
