"""What a broker's answer inside a transaction means."""

from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError, ProducerFenced
from aiokafka.protocol.produce import ProduceResponse_v8
from aiokafka.protocol.transaction import (
    AddOffsetsToTxnResponse_v0,
    AddPartitionsToTxnRequest,
    AddPartitionsToTxnResponse_v0,
    TxnOffsetCommitResponse_v0,
)

from streams.endtxn import EndTxnRequestV5, EndTxnResponseV5
from streams.transaction_failures import (
    REPEATED_CODES,
    TransactionFailedError,
    TransactionRefusedError,
    as_failure,
    refusal,
)

ADD = AddPartitionsToTxnRequest("id", 1, 0, [])
END = EndTxnRequestV5("id", 1, 0, True)


def added(*rows: tuple[str, int]) -> Any:
    return AddPartitionsToTxnResponse_v0(0, [(topic, [(0, code)]) for topic, code in rows])


@pytest.mark.parametrize("code", sorted(REPEATED_CODES))
def test_an_answer_that_says_nothing_was_done_is_no_failure(code: int) -> None:
    assert refusal(ADD, added(("a", code), ("b", 0))) is None
    assert refusal(END, EndTxnResponseV5(0, code, 1, 1, {})) is None


def test_the_refused_topic_is_named_not_those_beside_it() -> None:
    failure = refusal(ADD, added(("beside", 55), ("tenant.acme", 29), ("beside too", 55)))
    assert isinstance(failure, TransactionRefusedError)
    assert failure.topic == "tenant.acme"
    assert "tenant.acme" in str(failure)
    assert failure.hint


def test_a_deleted_topic_is_named() -> None:
    failure = refusal(ADD, added(("tenant.acme", 3)))
    assert isinstance(failure, TransactionRefusedError)
    assert failure.topic == "tenant.acme"
    assert not failure.fenced


@pytest.mark.parametrize("code", [47, 90])
def test_a_fence_is_told_apart(code: int) -> None:
    failure = refusal(END, EndTxnResponseV5(0, code, -1, -1, {}))
    assert failure is not None
    assert failure.fenced


def test_a_refused_batch_names_its_topic() -> None:
    row: Any = (0, 10, -1, -1, -1, [], None)
    failure = refusal(None, ProduceResponse_v8([("tenant.acme", [row])], 0))
    assert failure is not None
    assert failure.topic == "tenant.acme"
    assert not isinstance(failure, TransactionRefusedError)


def test_other_answers_are_read_too() -> None:
    assert refusal(None, TxnOffsetCommitResponse_v0(0, [("raw", [(0, 13)])])) is not None
    assert refusal(None, AddOffsetsToTxnResponse_v0(0, 30)) is not None
    assert refusal(None, object()) is None


def test_any_exception_is_one_failure() -> None:
    failure = TransactionFailedError("first")
    assert as_failure(failure) is failure
    assert as_failure(ProducerFenced()).fenced
    lost = KafkaConnectionError("lost")
    assert as_failure(lost).__cause__ is lost
