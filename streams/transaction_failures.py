"""Why a transaction failed: the errors, and what a broker's answer means.

MidgateError
└── TransactionFailedError       the producer is dead; only the start order goes on
    ├── TransactionRefusedError  a topic, group or id was refused; repeating changes nothing
    └── TransactionTooLargeError more bytes than one transaction may hold
"""

from typing import Any

import aiokafka.errors
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    ProducerFenced,
    TransactionalIdAuthorizationFailed,
)

from streams.clients import ADDRESS_HINT
from streams.errors import BrokerUnreachableError, MidgateError, NotAuthorizedError

# Answers after which aiokafka sends the same request again, and which say for certain that
# nothing was done: 5 LEADER_NOT_AVAILABLE, 6 NOT_LEADER, 14 COORDINATOR_LOAD_IN_PROGRESS,
# 15 COORDINATOR_NOT_AVAILABLE, 16 NOT_COORDINATOR, 19 NOT_ENOUGH_REPLICAS,
# 51 CONCURRENT_TRANSACTIONS (normal in 9 of 10 healthy transactions: markers are written after
# EndTxn is answered). The transaction's own deadline bounds the repeats. Every other error ends
# the transaction at once.
REPEATED_CODES = frozenset({0, 5, 6, 14, 15, 16, 19, 51})

# AddPartitionsToTxn says this of the healthy partitions beside a refused one.
_OPERATION_NOT_ATTEMPTED = 55

# 47 INVALID_PRODUCER_EPOCH, 90 PRODUCER_FENCED: somebody initialised our id, or the broker ended
# the transaction after its time-out.
FENCED_CODES = frozenset({47, 90})
UNAUTHORIZED_CODES = frozenset({29, 30, 31, 53})
_UNKNOWN_TOPIC = 3
_NAMES = {90: "PRODUCER_FENCED"}


class TransactionFailedError(MidgateError):
    """A transaction cannot be committed, or nobody knows whether it was.

    The producer that raised it is dead: only `close` and a new `open` (the start order) are
    allowed. `topic` is set when one topic is to blame, `fenced` when the transactional id was
    initialised by somebody else or the broker timed the transaction out.
    """

    def __init__(
        self, message: str, *, topic: str | None = None, fenced: bool = False, hint: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.topic = topic
        self.fenced = fenced


class TransactionRefusedError(TransactionFailedError):
    """The broker refused a topic, a group or the id; repeating changes nothing by itself."""


class TransactionTooLargeError(TransactionFailedError):
    """More bytes than one transaction may hold; the next attempt must take fewer records."""


def refusal(request: Any, response: Any) -> TransactionFailedError | None:
    """The failure that an answer inside a transaction means; None when there is none."""
    worst: tuple[str | None, int] | None = None
    for topic, code in _codes(response):
        if code in REPEATED_CODES:
            continue
        if worst is None or worst[1] == _OPERATION_NOT_ATTEMPTED:
            worst = (topic, code)
    if worst is None:
        return None
    topic, code = worst
    name = _NAMES.get(code) or aiokafka.errors.for_code(code).__name__
    what = type(request).__name__.removesuffix("Request").removesuffix("RequestV5")
    if topic is not None and code == _UNKNOWN_TOPIC:
        return TransactionRefusedError(
            f"topic {topic} does not exist any more ({what}: error {code})",
            topic=topic,
            hint="it was deleted; create it again or remove what leads to it",
        )
    if code in UNAUTHORIZED_CODES:
        return TransactionRefusedError(
            f"not authorized: {topic or what} ({what}: {name}, error {code})",
            topic=topic,
            hint="grant Write and Describe on the topic, Read on the group, Write on the id",
        )
    of_topic = f" of topic {topic}" if topic is not None else ""
    return TransactionFailedError(
        f"{what}{of_topic} was refused: {name} (error {code})",
        topic=topic,
        fenced=code in FENCED_CODES,
    )


def _codes(response: Any) -> list[tuple[str | None, int]]:
    """(topic, error code) of every partition, or (None, code) of the whole answer."""
    if hasattr(response, "errors"):  # AddPartitionsToTxn, TxnOffsetCommit
        return [(topic, code) for topic, rows in response.errors for _, code in rows]
    if hasattr(response, "error_code"):  # AddOffsetsToTxn, EndTxn
        return [(None, response.error_code)]
    if hasattr(response, "topics"):  # Produce
        return [(topic, row[1]) for topic, rows in response.topics for row in rows]
    return []


def as_failure(error: BaseException) -> TransactionFailedError:
    if isinstance(error, TransactionFailedError):
        return error
    failure = TransactionFailedError(
        f"the transaction failed: {error!r}", fenced=isinstance(error, ProducerFenced)
    )
    failure.__cause__ = error
    return failure


def open_error(error: Exception, bootstrap: str, transactional_id: str) -> MidgateError:
    if isinstance(error, TransactionalIdAuthorizationFailed):
        return NotAuthorizedError(
            f"not authorized: transactional id {transactional_id}",
            hint="grant Write and Describe on the transactional id",
        )
    if isinstance(error, KafkaConnectionError | OSError) and not isinstance(error, TimeoutError):
        return BrokerUnreachableError(f"no broker answers at {bootstrap}", hint=ADDRESS_HINT)
    if isinstance(error, TimeoutError):
        return TransactionFailedError(f"{transactional_id} could not be initialised in time")
    if isinstance(error, KafkaError):
        return TransactionFailedError(f"{transactional_id} could not be initialised: {error!r}")
    return as_failure(error)
