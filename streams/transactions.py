"""Transactional producer: the only way anything of ours writes in a transaction.

aiokafka's `AIOKafkaProducer` only glues a client, an accumulator, a transaction manager and a
sender together. This module glues subclasses of the same parts in its place, because a real
broker showed that the stock glue cannot be trusted:

- `commit_transaction` succeeds although a batch failed: here `commit` awaits every future first;
- `abort_transaction` does nothing after an authorization error, and the next commit publishes
  what was aborted; it hangs after a deleted topic: here there is no abort. The only abort is
  `close` and a new `open`, which fences the old owner and makes the broker abort;
- EndTxn v0 is unsafe, and is repeated for ever: `streams/endtxn.py`;
- a lost connection, a time-out or a refused topic is repeated for ever and hides its topic:
  `streams/transaction_client.py`.

Life of a producer: `open` → (`begin` → `send_offsets` → `send_batch`… → `commit`)… → `close`.
The first failure of any kind kills it: connections are closed, the sender and its children are
cancelled, every waiter gets the error, and nothing is sent any more. A wait that is cancelled by
the caller counts as a failure, too, as nobody would learn of its outcome.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from enum import Enum
from typing import Any, Self, TypeVar

from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError
from aiokafka.producer.message_accumulator import MessageAccumulator
from aiokafka.structs import OffsetAndMetadata

from streams.broker_features import require_transactions_v2
from streams.clients import connection
from streams.ending import end_tasks, say_goodbye
from streams.endtxn import EpochBumpingTransactionManager, KillableSender
from streams.errors import MidgateError
from streams.prepared_batch import PreparedBatch
from streams.record_format import BATCH_BYTES_MAX, RecordBatch
from streams.settings import KafkaSettings
from streams.transaction_client import TransactionClient
from streams.transaction_failures import (
    TransactionFailedError,
    TransactionRefusedError,
    TransactionTooLargeError,
    as_failure,
    open_error,
)

__all__ = [
    "TransactionFailedError",
    "TransactionRefusedError",
    "TransactionTooLargeError",
    "TransactionalProducer",
]

log = logging.getLogger(__name__)

T = TypeVar("T")

# A fence of an open transaction over 1,000 partitions took 0.25 s; a restarting coordinator
# takes seconds. Longer, and the caller's own retry (with its own jitter) is the better judge.
OPEN_S_MAX = 30.0
CLOSE_S_MAX = 1.0
# Past 100 MB (`socket.request.max.bytes`) the broker closes the connection. One produce request
# takes a batch of every partition, so the whole transaction bounds it. Callers bound their own
# batches far lower; this is the last line.
TRANSACTION_BYTES_MAX = 64 * 1024 * 1024
# A topic that was just made may be unknown to one broker for a moment.
METADATA_ATTEMPTS_MAX = 5
METADATA_BACKOFF_S = 0.05


class ProducerState(Enum):
    """Where a producer is in its life."""

    READY = "ready"
    IN_TRANSACTION = "in a transaction"
    COMMITTING = "committing"
    FAILED = "failed"
    CLOSED = "closed"


# Every allowed change; FAILED and CLOSED can be reached from anywhere and are never left for work.
TRANSITIONS = {
    (ProducerState.READY, ProducerState.IN_TRANSACTION),
    (ProducerState.IN_TRANSACTION, ProducerState.COMMITTING),
    (ProducerState.COMMITTING, ProducerState.READY),
}


class TransactionalProducer:
    """One transactional id, initialised; made by `open`, ended by `close`. One task may use it.

    Delivery: acks=all and idempotent (both implied by a transactional id, spelled out in
    `__init__`), one request in flight per partition, EndTxn v5.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        transactional_id: str,
        *,
        transaction_timeout_ms: int,
        retry_backoff_ms: int,
        compression: str,
        transaction_bytes_max: int,
    ) -> None:
        self.transactional_id = transactional_id
        self._timeout_s = transaction_timeout_ms / 1000
        self._bytes_max = transaction_bytes_max
        self._compression = compression
        self._state = ProducerState.READY
        self._failure: TransactionFailedError | None = None
        self._deadline = 0.0
        self._bytes = 0
        self._futures: list[asyncio.Future[Any]] = []
        options = connection(kafka)
        self._client = TransactionClient(
            **options, client_id=f"midgate-{transactional_id}", on_failure=self._fail
        )
        self._manager = EpochBumpingTransactionManager(transactional_id, transaction_timeout_ms)
        self._accumulator = MessageAccumulator(
            self._client.cluster,
            BATCH_BYTES_MAX,
            0,  # batches come compressed
            self._timeout_s,
            txn_manager=self._manager,
            linger_ms=0,
        )
        self._sender = KillableSender(
            self._client,
            acks=-1,  # all in-sync replicas
            txn_manager=self._manager,
            message_accumulator=self._accumulator,
            retry_backoff_ms=retry_backoff_ms,
            request_timeout_ms=kafka.request_timeout_ms,
            on_failure=self._fail,
        )

    @classmethod
    async def open(
        cls,
        kafka: KafkaSettings,
        transactional_id: str,
        *,
        transaction_timeout_ms: int,
        retry_backoff_ms: int = 5,
        topics: Iterable[str] = (),
        compression: str = "lz4",
        transaction_bytes_max: int = TRANSACTION_BYTES_MAX,
    ) -> Self:
        """Connect, learn all `topics` at once, and initialise: this fences the id's old owner.

        When it returns, an open transaction of the old owner has been aborted (or, had its EndTxn
        arrived, committed) by the broker, and nothing the old owner still sends is accepted.

        Raises BrokerUnreachableError, NotAuthorizedError, SchemaError (no transactions v2), or
        TransactionFailedError when it did not succeed within 30 s.
        """
        producer = cls(
            kafka,
            transactional_id,
            transaction_timeout_ms=transaction_timeout_ms,
            retry_backoff_ms=retry_backoff_ms,
            compression=compression,
            transaction_bytes_max=transaction_bytes_max,
        )
        try:
            async with asyncio.timeout(OPEN_S_MAX):
                await producer._start(topics)
        except BaseException as error:
            await producer.close()
            if not isinstance(error, Exception) or isinstance(error, MidgateError):
                raise
            raise open_error(error, kafka.bootstrap, transactional_id) from error
        return producer

    async def _start(self, topics: Iterable[str]) -> None:
        await self._client.bootstrap()
        node_id = self._client.get_random_node()
        if node_id is None:
            raise KafkaConnectionError("the cluster names no broker")
        await require_transactions_v2(self._client, node_id)
        missing = await self.add_topics(topics)
        if missing:
            log.warning("topics do not exist: %s", ", ".join(sorted(missing)))
        await self._sender.start()

    @property
    def producer_id(self) -> int:
        """Producer id now; it can change with any commit (an exhausted epoch)."""
        return int(self._manager.producer_id)

    @property
    def producer_epoch(self) -> int:
        """Producer epoch now; it changes with every commit."""
        return int(self._manager.producer_epoch)

    @property
    def state(self) -> ProducerState:
        return self._state

    @property
    def client(self) -> TransactionClient:
        """The connections of this producer, for reads that must end with it (OffsetFetch)."""
        return self._client

    async def add_topics(self, topics: Iterable[str]) -> set[str]:
        """Learn the partitions of all `topics` in one metadata request; returns the unknown ones.

        One round trip a topic, which is what aiokafka does by itself, took 18 s for 1,000 topics.
        """
        wanted = set(topics)
        for attempt in range(METADATA_ATTEMPTS_MAX):
            missing = {name for name in wanted if not self._knows(name)}
            if not missing:
                break
            if attempt:
                await asyncio.sleep(METADATA_BACKOFF_S * attempt)
            self._client.set_topics(self._client._topics | wanted)
            await self._client.force_metadata_update()
        missing = {name for name in wanted if not self._knows(name)}
        # Or every later metadata request would ask for them, and aiokafka log an error each time.
        self._client.set_topics(self._client._topics - missing)
        return missing

    def partitions(self, topic: str) -> frozenset[int]:
        """Partitions of a topic as far as known; empty for an unknown topic."""
        return frozenset(self._client.cluster.partitions_for_topic(topic) or ())

    def _knows(self, topic: str) -> bool:
        return self._client.cluster.partitions_for_topic(topic) is not None

    async def begin(self) -> None:
        """Begin a transaction. No request goes out: the broker's time-out starts with the first
        `send_offsets` or `send_batch`; the local deadline, as long as it, starts here.
        """
        self._move(ProducerState.IN_TRANSACTION)
        self._deadline = asyncio.get_running_loop().time() + self._timeout_s
        self._bytes = 0
        self._futures.clear()
        self._client.watching = True
        self._manager.begin_transaction()

    async def send_offsets(
        self, offsets: Mapping[TopicPartition, OffsetAndMetadata], group: str
    ) -> None:
        """Commit offsets of `group` with this transaction. Before any record: on Kafka 4.x the
        answer 13 can fail an offset commit that comes after records.
        """
        self._require(ProducerState.IN_TRANSACTION)
        assert not self._futures, "offsets go before records"
        await self._within(
            "committing offsets",
            lambda: asyncio.shield(self._manager.add_offsets_to_txn(dict(offsets), group)),
        )

    async def send_batch(
        self, batch: RecordBatch, topic: str, partition: int
    ) -> asyncio.Future[Any]:
        """Queue a batch; the future ends when it is written. `commit` awaits it in any case.

        Raises TransactionTooLargeError when the transaction would hold more than its bytes, and
        TransactionRefusedError, which names the topic, when the topic or partition is unknown.
        """
        self._require(ProducerState.IN_TRANSACTION)
        assert batch.count > 0, "an empty batch would only cost a marker"
        prepared = PreparedBatch(batch, compression=self._compression)
        self._bytes += prepared.size()
        if self._bytes > self._bytes_max:
            raise self._fail(
                TransactionTooLargeError(
                    f"the transaction would hold more than {self._bytes_max} bytes",
                    hint="take fewer records into one transaction",
                )
            )
        if partition not in self.partitions(topic):
            await self._within("asking for a topic", lambda: self.add_topics([topic]))
            if partition not in self.partitions(topic):
                raise self._fail(
                    TransactionRefusedError(
                        f"topic {topic} has no partition {partition}, or does not exist",
                        topic=topic,
                        hint="create the topic, or remove what leads to it",
                    )
                )
        future: asyncio.Future[Any] = await self._within(
            "queueing a batch",
            lambda: self._accumulator.add_batch(
                prepared, TopicPartition(topic, partition), self._timeout_s
            ),
        )
        future.add_done_callback(_retrieve)
        self._futures.append(future)
        return future

    async def commit(self) -> None:
        """Await every batch, then commit. Returning means: committed, all of it.

        Raises TransactionFailedError otherwise. Then the outcome is unknown only if EndTxn had
        gone out; the next `open` settles it either way.
        """
        self._move(ProducerState.COMMITTING)
        if self._futures:
            await self._within("writing records", lambda: asyncio.gather(*self._futures))
        await self._within("ending the transaction", self._end)
        self._client.watching = False
        self._move(ProducerState.READY)

    def _end(self) -> Awaitable[Any]:
        self._manager.committing_transaction()
        return asyncio.shield(self._manager.wait_for_transaction_end())

    async def close(self) -> None:
        """Close connections first, then cancel sender and children; waits at most 1 s.

        An open transaction is left to the next `open` of the id, or to the broker's time-out.
        May be called at any time, and again.
        """
        if self._state is not ProducerState.FAILED:
            self._fail(TransactionFailedError("the producer was closed"))
        self._state = ProducerState.CLOSED
        running = self._sender.kill()
        closed = await say_goodbye(self._client.close(), CLOSE_S_MAX / 2)
        if not await end_tasks(running, CLOSE_S_MAX / 2) or not closed:
            # Its connections are shut, so whatever still runs can send nothing.
            log.warning("the sender of %s did not end in time", self.transactional_id)

    async def _within(self, what: str, work: Callable[[], Awaitable[T]]) -> T:
        """Await a part of the transaction under its deadline; any failure is the end of it."""
        try:
            async with asyncio.timeout_at(self._deadline):
                return await work()
        except TimeoutError as error:
            raise self._fail(
                TransactionFailedError(f"{what} took longer than the transaction's time-out")
            ) from error
        except asyncio.CancelledError:
            self._fail(TransactionFailedError(f"{what} was given up by the caller"))
            raise
        except Exception as error:
            # A fence shows as ProducerFenced, IllegalOperation, AssertionError or a plain
            # KafkaError, so every exception is the same one path.
            raise self._fail(error) from error

    def _fail(self, error: BaseException) -> TransactionFailedError:
        """Kill the producer, once; returns the first failure, which is the one to tell of."""
        if self._failure is not None:
            return self._failure
        self._failure = failure = as_failure(error)
        self._state = ProducerState.FAILED
        self._client.shut()
        self._sender.kill()
        for batch in self._unfinished():
            batch.failure(failure)
            # Nobody may be waiting for these; asyncio would complain about each of them.
            _retrieve(batch.future)
            _retrieve(batch._drain_waiter)
        self._accumulator._exception = failure
        pending = [future for _, _, future in self._manager._pending_txn_offsets]
        if self._manager._transaction_waiter is not None:
            self._manager.fatal_error(failure)
            pending.append(self._manager._transaction_waiter)
        for future in pending:
            _retrieve(future)
        return failure

    def _unfinished(self) -> list[Any]:
        queued = [batch for batches in self._accumulator._batches.values() for batch in batches]
        return [*queued, *self._accumulator._pending_batches]

    def _require(self, state: ProducerState) -> None:
        if self._failure is not None:
            raise self._failure
        assert self._state is state, f"the producer is {self._state.value}, not {state.value}"

    def _move(self, target: ProducerState) -> None:
        if self._failure is not None:
            raise self._failure
        assert (self._state, target) in TRANSITIONS, f"{self._state.value} → {target.value}"
        self._state = target


def _retrieve(future: asyncio.Future[Any]) -> None:
    """Mark a future's exception as seen; `commit` is where it is reported."""
    if future.done() and not future.cancelled():
        future.exception()
