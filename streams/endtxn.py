"""EndTxn v5, and a sender that speaks it and can be killed.

Why v5. With EndTxn v0, all that aiokafka 0.14 speaks, producer id and epoch stay the same from
one transaction to the next, so the broker cannot tell a late copy of the last EndTxn from the
EndTxn of the transaction that is open now: the copy commits half of it. Such copies do occur:
aiokafka sends EndTxn again by itself after a time-out. Under KIP-890 (`transaction.version` 2)
the broker raises the epoch at every end of a transaction and says the new one in its answer. A
late copy then carries an old epoch and is refused, a repeat of the last one is answered with
success, and an exhausted epoch changes the producer id.

So the answer's producer id and epoch must be taken over, and sequence numbers start anew, as they
belong to an epoch. Both happen before the waiter of the commit is released.

These are subclasses that only our producers use (`streams/transactions.py`); aiokafka's module is
left as it is, and its plain producers in the same process go on with v0.
"""

import asyncio
from collections.abc import Callable
from typing import Any, ClassVar

from aiokafka.client import CoordinationType
from aiokafka.errors import KafkaError
from aiokafka.producer.sender import EndTxnHandler, Sender
from aiokafka.producer.transaction_manager import (
    PidAndEpoch,
    TransactionManager,
    TransactionResult,
)
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    Boolean,
    CompactString,
    Int16,
    Int32,
    Int64,
    Schema,
    TaggedFields,
)


class EndTxnResponseV5(Response):  # type: ignore[misc]
    """Answer of KIP-890: with the producer id and epoch of the *next* transaction."""

    API_KEY = 26
    API_VERSION = 5
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("producer_id", Int64),
        ("producer_epoch", Int16),
        ("tags", TaggedFields),
    )


class EndTxnRequestV5Struct(RequestStruct):  # type: ignore[misc]
    """Same fields as v0, in the flexible encoding."""

    API_KEY = 26
    API_VERSION = 5
    RESPONSE_TYPE = EndTxnResponseV5
    FLEXIBLE_VERSION = True
    SCHEMA = Schema(
        ("transactional_id", CompactString("utf-8")),
        ("producer_id", Int64),
        ("producer_epoch", Int16),
        ("committed", Boolean),
        ("tags", TaggedFields),
    )


class EndTxnRequestV5(Request[EndTxnRequestV5Struct]):  # type: ignore[misc]
    """EndTxn that only goes out as v5: a broker without it is an error, never a fallback."""

    API_KEY: ClassVar[int] = 26

    def __init__(
        self, transactional_id: str, producer_id: int, producer_epoch: int, committed: bool
    ) -> None:
        self._fields = (transactional_id, producer_id, producer_epoch, committed)

    def build(self, request_struct_class: type[EndTxnRequestV5Struct]) -> EndTxnRequestV5Struct:
        return request_struct_class(*self._fields, {})


class EpochBumpingTransactionManager(TransactionManager):  # type: ignore[misc]
    """aiokafka's transaction state, which can also move to the epoch that EndTxn v5 gives."""

    def adopt(self, producer_id: int, producer_epoch: int) -> None:
        """Go on under another epoch; sequence numbers belong to an epoch and start anew."""
        self._pid_and_epoch = PidAndEpoch(producer_id, producer_epoch)
        self._sequence_numbers.clear()


class EndTxnV5Handler(EndTxnHandler):  # type: ignore[misc]
    """Sends EndTxn v5 and takes producer id and epoch from the answer."""

    def create_request(self) -> EndTxnRequestV5:
        manager = self._sender._txn_manager
        return EndTxnRequestV5(
            manager.transactional_id,
            manager.producer_id,
            manager.producer_epoch,
            self._commit_result == TransactionResult.COMMIT,
        )

    def handle_response(self, resp: EndTxnResponseV5) -> float | None:
        if resp.error_code == 0:
            if resp.producer_epoch < 0:
                raise KafkaError("EndTxn v5 was answered without a producer epoch")
            self._sender._txn_manager.adopt(resp.producer_id, resp.producer_epoch)
        backoff: float | None = super().handle_response(resp)
        return backoff


class KillableSender(Sender):  # type: ignore[misc]
    """aiokafka's sender with EndTxn v5, known children, and a kill that leaves nothing running.

    Cancelling aiokafka's sender only makes it wait for its children, and one of them went on to
    send EndTxn 7.5 s later. Here the children are known and are cancelled as well.
    """

    def __init__(
        self, client: Any, *, on_failure: Callable[[BaseException], object], **options: Any
    ) -> None:
        super().__init__(client, **options)
        self._on_failure = on_failure
        self._children: set[asyncio.Task[Any]] = set()

    def kill(self) -> set[asyncio.Task[Any]]:
        """Cancel the sender and its children; returns what has not ended yet."""
        tasks = set(self._children)
        if self._sender_task is not None:
            tasks.add(self._sender_task)
        running = {task for task in tasks if not task.done()}
        for task in running:
            task.cancel()
        return running

    def _fail_all(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_failure(error)

    async def _send_produce_req(self, node_id: int, batches: dict[Any, Any]) -> None:
        task = asyncio.current_task()
        assert task is not None, "aiokafka runs each produce request in a task of its own"
        self._adopt_child(task)
        await super()._send_produce_req(node_id, batches)

    def _maybe_do_transactional_request(self) -> asyncio.Task[Any] | None:
        task: asyncio.Task[Any] | None = super()._maybe_do_transactional_request()
        if task is not None:
            self._adopt_child(task)
        return task

    def _adopt_child(self, task: asyncio.Task[Any]) -> None:
        self._children.add(task)
        task.add_done_callback(self._children.discard)

    async def _do_txn_commit(self, commit_result: TransactionResult) -> None:
        # aiokafka's own method names its v0 handler, so its few lines stand here again.
        assert commit_result == TransactionResult.COMMIT, "the only abort is the start order"
        await self._message_accumulator.flush_for_commit()
        manager = self._txn_manager
        if manager.is_empty_transaction():
            manager.complete_transaction()
            return
        node_id = await self._find_coordinator(
            CoordinationType.TRANSACTION, manager.transactional_id
        )
        await EndTxnV5Handler(self, commit_result).do(node_id)
