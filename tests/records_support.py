"""Encoded records, read back with aiokafka's own reader of batches."""

import time
from collections.abc import Sequence

from aiokafka.record.memory_records import MemoryRecords

from streams.prepared_batch import PreparedBatch
from streams.record_format import (
    Header,
    OutRecord,
    PartitionRecords,
    RecordBatch,
    encode_records,
)


def decoded(records: PartitionRecords) -> list[OutRecord]:
    """What a consumer would see of them."""
    found: list[OutRecord] = []
    for one in records.batches:
        batch = MemoryRecords(PreparedBatch(one, compression="none")._build()).next_batch()
        assert batch.validate_crc()
        found += [(each.key, each.value, each.timestamp, each.headers) for each in batch]
    assert len(found) == records.count
    return found


def one_batch(
    *payloads: bytes | None,
    key: bytes | None = b"k",
    timestamp: int | None = None,
    headers: Sequence[Header] = (),
) -> RecordBatch:
    """A batch of values, received now unless said: an old one is for the broker to remove."""
    timestamp = time.time_ns() // 1_000_000 if timestamp is None else timestamp
    records: list[OutRecord] = [(key, payload, timestamp, [*headers]) for payload in payloads]
    [batch] = encode_records(records).batches
    return batch
