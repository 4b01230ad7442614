"""DescribeProducers (API 61, version 0): who has an open transaction on a partition.

aiokafka does not speak it; these are its own building blocks put together by the protocol's
definition (KIP-664). The answer names producer ids, not transactional ids: Kafka's
`kafka-transactions.sh` finds those.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import for_code
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Int64,
    Schema,
    TaggedFields,
)

API_KEY = 61
NO_OPEN_TRANSACTION = -1


class DescribeProducersResponse_v0(Response):  # type: ignore[misc]  # noqa: N801  (Kafka's name)
    """Producers active on each partition asked for."""

    API_KEY = API_KEY
    API_VERSION = 0
    FLEXIBLE_VERSION = True
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "topics",
            CompactArray(
                ("name", CompactString("utf-8")),
                (
                    "partitions",
                    CompactArray(
                        ("partition", Int32),
                        ("error_code", Int16),
                        ("error_message", CompactString("utf-8")),
                        (
                            "producers",
                            CompactArray(
                                ("producer_id", Int64),
                                ("producer_epoch", Int32),
                                ("last_sequence", Int32),
                                ("last_timestamp", Int64),
                                ("coordinator_epoch", Int32),
                                ("txn_start_offset", Int64),
                                ("tags", TaggedFields),
                            ),
                        ),
                        ("tags", TaggedFields),
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class DescribeProducersRequest_v0(RequestStruct):  # type: ignore[misc]  # noqa: N801
    """Topics and partitions to describe."""

    API_KEY = API_KEY
    API_VERSION = 0
    RESPONSE_TYPE = DescribeProducersResponse_v0
    FLEXIBLE_VERSION = True
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(
                ("name", CompactString("utf-8")),
                ("partitions", CompactArray(Int32)),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class DescribeProducersRequest(Request[DescribeProducersRequest_v0]):  # type: ignore[misc]
    """Builder aiokafka's client asks for the struct of the version both sides speak."""

    API_KEY = API_KEY

    def __init__(self, topic: str, partition: int) -> None:
        self._topics: list[Any] = [(topic, [partition], {})]

    def build(
        self, request_struct_class: type[DescribeProducersRequest_v0]
    ) -> DescribeProducersRequest_v0:
        return request_struct_class(self._topics, {})


@dataclass(frozen=True, slots=True)
class OpenTransaction:
    """One producer's open transaction on one partition; `last_timestamp_ms` is when it last wrote
    there, by the broker's clock."""

    producer_id: int
    producer_epoch: int
    start_offset: int
    last_timestamp_ms: int


async def open_transactions(
    client: AIOKafkaClient, node_id: int, topic: str, partition: int
) -> list[OpenTransaction]:
    """Open transactions on a partition, oldest first; the first one holds the last stable offset.

    `node_id` must lead the partition. Raises a KafkaError when the broker refuses (reading the
    topic is enough of a right) or cannot be reached.
    """
    response: Any = await client.send(node_id, DescribeProducersRequest(topic, partition))
    found: list[OpenTransaction] = []
    for _, partitions, _ in response.topics:
        for _, error_code, message, producers, _ in partitions:
            if error_code:
                raise for_code(error_code)(message)
            found.extend(_open(producers))
    return sorted(found, key=lambda each: each.start_offset)


def _open(producers: Iterable[tuple[Any, ...]]) -> Iterable[OpenTransaction]:
    for producer_id, epoch, _, last_timestamp, _, start_offset, _ in producers:
        if start_offset != NO_OPEN_TRANSACTION:
            yield OpenTransaction(producer_id, epoch, start_offset, last_timestamp)
