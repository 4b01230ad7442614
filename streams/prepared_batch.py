"""A batch of encoded records as aiokafka's sender takes it.

`PreparedBatch` stands where aiokafka has its own `BatchBuilder`: its sender asks a batch for no
more than what is defined here. aiokafka's takes records one by one and compresses lz4 with level
9, the slow kind of lz4, and takes no level: on a batch of tenant records (80 kB with their headers,
2.1 GHz core) 0.68 ms for 9.7 kB, level 1 0.08 ms for 10.2 kB. So ours uses level 1.
"""

from struct import Struct

from aiokafka.codec import lz4_encode
from aiokafka.record.util import calc_crc32c

from streams.record_format import RecordBatch

LZ4_LEVEL = 1
# Base offset, batch length, partition leader epoch, magic: not under the checksum.
_OUTER = Struct(">qiib")
# Attributes, last offset delta, first and max timestamp, producer id and epoch, base sequence,
# number of records.
_INNER = Struct(">hiqqqhii")
_CHECKSUM = Struct(">I")
_HEADER_BYTES = _OUTER.size + _CHECKSUM.size + _INNER.size
_LENGTH_COUNTS_FROM = 12
_MAGIC = 2
_NO_LEADER_EPOCH = -1
_LZ4 = 3
_TRANSACTIONAL = 0x10


class PreparedBatch:
    """A whole batch of encoded records, as aiokafka's sender takes it; nothing can be added."""

    def __init__(self, batch: RecordBatch, *, compression: str) -> None:
        assert compression in ("lz4", "none"), "no other codec is written"
        self._batch = batch
        self._lz4 = compression == "lz4"
        self._producer = (-1, -1, -1)
        self._built: bytes | None = None

    def size(self) -> int:
        """Bytes of the batch; uncompressed before it is built."""
        return self._batch.size + _HEADER_BYTES if self._built is None else len(self._built)

    def record_count(self) -> int:
        """Records in it."""
        return self._batch.count

    def closed(self) -> bool:
        """Whether it is full: it goes out without waiting for more."""
        return True

    def close(self) -> None:
        """It is closed already."""

    def _set_producer_state(
        self, producer_id: int, producer_epoch: int, base_sequence: int
    ) -> None:
        self._producer = (producer_id, producer_epoch, base_sequence)

    def _build(self) -> bytes:
        if self._built is None:
            self._built = self._encode()
        return self._built

    def _encode(self) -> bytes:
        batch = self._batch
        records = b"".join(batch.parts)
        attributes = _TRANSACTIONAL
        if self._lz4:
            packed: bytes = lz4_encode(records, LZ4_LEVEL)
            if len(packed) < len(records):
                records, attributes = packed, attributes | _LZ4
        inner = _INNER.pack(
            attributes,
            batch.count - 1,
            batch.first_timestamp,
            batch.max_timestamp,
            *self._producer,
            batch.count,
        )
        checked = inner + records
        length = _HEADER_BYTES - _LENGTH_COUNTS_FROM + len(records)
        outer = _OUTER.pack(0, length, _NO_LEADER_EPOCH, _MAGIC)
        return b"".join((outer, _CHECKSUM.pack(calc_crc32c(checked)), checked))
