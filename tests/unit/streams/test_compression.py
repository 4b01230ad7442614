"""The quick lz4 is used, and is lz4 still."""

import pytest
from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords

from streams import compression


def build() -> bytes:
    builder = DefaultRecordBatchBuilder(2, DefaultRecordBatch.CODEC_LZ4, 0, -1, -1, -1, 1_000_000)
    for n in range(500):
        builder.append(n, 1_785_000_000_000, b"key", b"value of some length %d" % n, [])
    return bytes(builder.build())


def test_the_batch_builder_takes_the_level(monkeypatch: pytest.MonkeyPatch) -> None:
    """aiokafka has no option for it; should an upgrade move the name, this fails."""
    compression.use_quick_lz4()
    level_1 = build()
    monkeypatch.setattr(compression, "LEVEL", 9)
    level_9 = build()
    assert level_1 != level_9
    for data in (level_1, level_9):
        batch = MemoryRecords(data).next_batch()
        values = [record.value for record in batch]
        assert values == [b"value of some length %d" % n for n in range(500)]
