"""Looking into the bytes of batches, as aiokafka writes them."""

import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from midgate.batch_search import _taken_apart

CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
BASE = 700


def written(codec: int, deltas: list[int], *, base: int = BASE) -> bytes:
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=codec,
        is_transactional=0,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=1_000_000,
    )
    for delta in deltas:
        # Values long enough that lengths take two bytes, times that take up to nine.
        value = b"number-%d." % delta * 30
        builder.append(delta, delta**5, b"k", value, [("ce_id", b"1-%d" % delta)])
    built = bytearray(builder.build())
    built[:8] = base.to_bytes(8, "big")
    return bytes(built)


@pytest.mark.parametrize("codec", CODECS)
def test_a_record_is_found_in_whatever_a_batch_is_compressed_with(codec):
    [batch] = _taken_apart(written(CODECS[codec], list(range(200))))
    assert (batch.first, batch.next) == (BASE, BASE + 200)
    assert list(batch.offsets_of(b"number-123.")) == [BASE + 123]
    assert list(batch.offsets_of(b"1-12")) == [BASE + n for n in (12, *range(120, 130))]
    assert list(batch.offsets_of(b"number-200.")) == []


def test_offsets_are_those_that_compaction_left():
    [batch] = _taken_apart(written(0, [0, 5, 90]))
    assert list(batch.offsets_of(b"number-90.")) == [BASE + 90]


def test_a_cut_batch_is_left_for_the_next_answer():
    whole = written(3, [0, 1])
    both = whole + written(3, [0, 1], base=BASE + 2)
    for cut in (1, 60, 61, len(whole) - 1):
        assert [batch.first for batch in _taken_apart(both[:-cut])] == [BASE]
    assert [batch.next for batch in _taken_apart(both)] == [BASE + 2, BASE + 4]
