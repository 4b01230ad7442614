"""What a broker's finalized features say: ApiVersions v3, which aiokafka does not speak.

The highest version of a request that a broker offers says what its code can do; only the
finalized feature level says what the cluster has agreed on. EndTxn v5 rests on the second.
"""

from io import BytesIO
from typing import Any, ClassVar

from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.api import Request, RequestStruct, Response, ResponseHeader_v0
from aiokafka.protocol.types import (
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    TaggedFields,
    UnsignedVarInt32,
)

from streams.errors import SchemaError

TRANSACTION_VERSION_MIN = 2
TRANSACTION_VERSION_HINT = (
    "finalize it with `kafka-features.sh upgrade --feature transaction.version=2` "
    "(Kafka 4.0 or newer)"
)

# Tag of `finalized_features` in ApiVersionsResponse (KIP-584).
_FINALIZED_FEATURES_TAG = 2


class _ApiVersionsResponse(Response):  # type: ignore[misc]
    API_KEY = 18
    API_VERSION = 3
    SCHEMA = Schema(
        ("error_code", Int16),
        (
            "api_keys",
            CompactArray(
                ("api_key", Int16),
                ("min_version", Int16),
                ("max_version", Int16),
                ("tags", TaggedFields),
            ),
        ),
        ("throttle_time_ms", Int32),
        ("tags", TaggedFields),
    )


class _ApiVersionsRequestStruct(RequestStruct):  # type: ignore[misc]
    API_KEY = 18
    API_VERSION = 3
    RESPONSE_TYPE = _ApiVersionsResponse
    FLEXIBLE_VERSION = True
    SCHEMA = Schema(
        ("client_software_name", CompactString("utf-8")),
        ("client_software_version", CompactString("utf-8")),
        ("tags", TaggedFields),
    )

    def parse_response_header(self, read_buffer: BytesIO | bytes) -> ResponseHeader_v0:
        # KIP-511: this one answer keeps the old header in every version, so that a client which
        # guessed too high can still read the error.
        return ResponseHeader_v0.decode(read_buffer)


class _ApiVersionsRequest(Request[_ApiVersionsRequestStruct]):  # type: ignore[misc]
    API_KEY: ClassVar[int] = 18

    def build(
        self, request_struct_class: type[_ApiVersionsRequestStruct]
    ) -> _ApiVersionsRequestStruct:
        return request_struct_class("midgate", "1", {})


def finalized_features(tagged: bytes) -> dict[str, int]:
    """Highest finalized level by feature name, from the bytes of the answer's tagged field."""
    stream = BytesIO(tagged)
    levels: dict[str, int] = {}
    for _ in range(UnsignedVarInt32.decode(stream) - 1):
        name = CompactString("utf-8").decode(stream)
        levels[str(name)] = Int16.decode(stream)
        Int16.decode(stream)  # lowest level, not needed
        TaggedFields.decode(stream)
    return levels


async def transaction_version(client: AIOKafkaClient, node_id: int) -> int:
    """The cluster's finalized `transaction.version`; 0 when there is none.

    `client` must have been bootstrapped. Raises what the client raises for a lost connection.
    """
    answer: Any = await client.send(node_id, _ApiVersionsRequest())
    tagged = answer.tags.get(_FINALIZED_FEATURES_TAG, b"\x01")
    return finalized_features(tagged).get("transaction.version", 0)


async def require_transactions_v2(client: AIOKafkaClient, node_id: int) -> None:
    """Raise SchemaError unless the cluster has agreed on transactions v2 (KIP-890).

    Without it a late copy of EndTxn commits half of the next transaction (streams/endtxn.py).
    """
    level = await transaction_version(client, node_id)
    if level < TRANSACTION_VERSION_MIN:
        raise SchemaError(
            f"the cluster's transaction.version is {level}, {TRANSACTION_VERSION_MIN} is needed",
            hint=TRANSACTION_VERSION_HINT,
        )
