"""Encoded records are byte for byte what aiokafka's own builder makes of the same records."""

import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from hypothesis import given
from hypothesis import strategies as st

from streams import record_format
from streams.prepared_batch import PreparedBatch
from streams.record_format import OutRecord, PartitionRecords, encode_content, encode_records
from tests.records_support import decoded

TRANSACTIONAL = 1
PRODUCER = (7, 3, 11)

bytes_or_none = st.none() | st.binary(max_size=200)
headers = st.lists(st.tuples(st.text(max_size=12), st.none() | st.binary(max_size=40)), max_size=5)
records = st.lists(
    st.tuples(bytes_or_none, bytes_or_none, st.integers(0, 1 << 45), headers),
    min_size=1,
    max_size=40,
)


def built_by_aiokafka(given: list[OutRecord]) -> bytes:
    builder = DefaultRecordBatchBuilder(2, 0, TRANSACTIONAL, -1, -1, 0, 1 << 24)
    for offset, (key, value, timestamp, its_headers) in enumerate(given):
        assert builder.append(offset, timestamp, key, value, its_headers) is not None
    builder.set_producer_state(*PRODUCER)
    return bytes(builder.build())


def built_by_us(given: list[OutRecord], compression: str = "none") -> bytes:
    [batch] = encode_records(given).batches
    prepared = PreparedBatch(batch, compression=compression)
    prepared._set_producer_state(*PRODUCER)
    built = prepared._build()
    assert prepared.size() == len(built)
    return built


@given(records)
def test_a_batch_is_what_aiokafka_builds(given: list[OutRecord]) -> None:
    assert built_by_us(given) == built_by_aiokafka(given)


@given(records)
def test_the_size_is_known_before_it_is_built(given: list[OutRecord]) -> None:
    [batch] = encode_records(given).batches
    before = PreparedBatch(batch, compression="none").size()
    assert before == len(built_by_us(given))


@given(st.lists(st.integers(-(1 << 63), (1 << 63) - 1), min_size=1, max_size=5))
def test_timestamps_may_go_backwards(deltas: list[int]) -> None:
    given: list[OutRecord] = [(b"k", b"v", delta, []) for delta in deltas]
    assert [timestamp for _, _, timestamp, _ in decoded(encode_records(given))] == deltas


def test_lz4_is_read_back_and_what_does_not_shrink_stays_as_it_is() -> None:
    given: list[OutRecord] = [(b"k", b"the same again %d" % n, 5, []) for n in range(500)]
    packed = built_by_us(given, "lz4")
    assert len(packed) < len(built_by_us(given)) / 2
    batch = MemoryRecords(packed).next_batch()
    assert batch.compression_type == 3
    assert batch.validate_crc()
    assert [record.value for record in batch] == [value for _, value, _, _ in given]
    assert built_by_us([(None, b"x", 5, [])], "lz4") == built_by_us([(None, b"x", 5, [])])


def test_content_may_be_shared_between_records() -> None:
    whole = encode_content(b"k", b"v", [("a", b"1"), ("b", b"2")])
    shared = PartitionRecords()
    for cut in range(len(whole) + 1):
        shared.append(5, whole[:cut], whole[cut:])
    assert decoded(shared) == [(b"k", b"v", 5, [("a", b"1"), ("b", b"2")])] * (len(whole) + 1)


@pytest.mark.parametrize("count", [1, 9_000])
def test_a_batch_ends_before_its_bytes_do(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """More records than the table of small numbers holds, and a bound that a few of them fill."""
    monkeypatch.setattr(record_format, "BATCH_BYTES_MAX", 100 if count == 1 else 200_000)
    given: list[OutRecord] = [(b"k", b"v" * 60, 5, [])] * 3 + [(b"k", b"v", 5, [])] * count
    encoded = encode_records(given)
    bound = record_format.BATCH_BYTES_MAX
    assert len(encoded.batches) > 1 or count > 1
    assert all(batch.count == 1 or batch.size <= bound * 1.1 for batch in encoded.batches)
    assert decoded(encoded) == given


def test_a_record_above_the_bound_still_goes_alone() -> None:
    given: list[OutRecord] = [(b"k", b"v" * record_format.BATCH_BYTES_MAX, 5, [])] * 2
    encoded = encode_records(given)
    assert [batch.count for batch in encoded.batches] == [1, 1]
    assert decoded(encoded) == given
