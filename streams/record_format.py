"""[core] Records as they stand in a Kafka record batch, format version 2 (KIP-98).

A record is encoded once, when it is placed: what belongs to its event is shared by all copies, and
a batch is no more than these pieces joined. (A builder that takes key, value and headers of each
copy by itself encodes the same headers again and again; that was a fifth of the router's time.)

    record: length, attributes (0), timestamp delta, offset delta, key, value, headers
    key, value: length (-1: null), bytes        headers: number, (name, value) each with its length

Numbers are zigzag varints. Timestamps are Unix ms.
"""

from collections.abc import Iterable, Sequence

Header = tuple[str, bytes | None]
OutRecord = tuple[bytes | None, bytes | None, int, Sequence[Header]]
"""Key, value, timestamp (Unix ms), headers."""

# Uncompressed bytes of one batch. A compressed batch may not exceed `max.message.bytes` (1 MiB
# on raw); random bytes grow a little under lz4, so stay below. A single record always fits.
BATCH_BYTES_MAX = 1_000_000

_NULL_LENGTH = -1
_SMALL = 1 << 13
# Beyond it the difference of two timestamps does not fit 64 bits.
_DELTA_MAX = 1 << 62


def _zigzag(number: int) -> bytes:
    """A varint of any 64-bit number."""
    rest = (number << 1) ^ (number >> 63)
    out = bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)


_VARINTS = tuple(_zigzag(number) for number in range(_SMALL))
# Attributes, which nothing uses, and the timestamp delta.
_STAMPS = tuple(b"\0" + number for number in _VARINTS)


def varint(number: int) -> bytes:
    """A signed number as it stands in a record."""
    return _VARINTS[number] if 0 <= number < _SMALL else _zigzag(number)


def sized(data: bytes | None) -> bytes:
    """Bytes with their length before them, as keys, values, names and header values stand."""
    return varint(_NULL_LENGTH) if data is None else varint(len(data)) + data


def encode_header(name: str, value: bytes | None) -> bytes:
    """One header."""
    return sized(name.encode()) + sized(value)


def encode_content(key: bytes | None, value: bytes | None, headers: Sequence[Header]) -> bytes:
    """All of a record that does not depend on the batch it stands in."""
    parts = [sized(key), sized(value), varint(len(headers))]
    parts += [encode_header(name, content) for name, content in headers]
    return b"".join(parts)


class RecordBatch:
    """The records of one batch, as pieces to be joined; `size` is their uncompressed bytes."""

    __slots__ = ("count", "first_timestamp", "max_timestamp", "parts", "size")

    def __init__(self, first_timestamp: int) -> None:
        self.first_timestamp = first_timestamp
        self.max_timestamp = first_timestamp
        self.parts: list[bytes] = []
        self.count = 0
        self.size = 0


class PartitionRecords:
    """Records for one partition, in order, in as few batches as their bytes allow."""

    __slots__ = ("batches", "count")

    def __init__(self) -> None:
        self.batches: list[RecordBatch] = []
        self.count = 0

    def append(self, timestamp: int, head: bytes, tail: bytes) -> None:
        """Add a record whose content (`encode_content`) is `head` + `tail`."""
        batch = self.batches[-1] if self.batches else self._next(timestamp)
        count = batch.count
        size = len(head) + len(tail)
        delta = timestamp - batch.first_timestamp
        if (batch.size + size > BATCH_BYTES_MAX and count) or not -_DELTA_MAX < delta < _DELTA_MAX:
            batch = self._next(timestamp)
            count = delta = 0
        stamp = _STAMPS[delta] if 0 <= delta < _SMALL else b"\0" + _zigzag(delta)
        place = _VARINTS[count] if count < _SMALL else _zigzag(count)
        size += len(stamp) + len(place)
        length = _VARINTS[size] if size < _SMALL else _zigzag(size)
        batch.parts += (length, stamp, place, head, tail)
        batch.size += len(length) + size
        batch.count = count + 1
        if timestamp > batch.max_timestamp:
            batch.max_timestamp = timestamp
        self.count += 1

    def _next(self, timestamp: int) -> RecordBatch:
        batch = RecordBatch(timestamp)
        self.batches.append(batch)
        return batch


def encode_records(records: Iterable[OutRecord]) -> PartitionRecords:
    """Records that share nothing."""
    encoded = PartitionRecords()
    for key, value, timestamp, headers in records:
        encoded.append(timestamp, encode_content(key, value, headers), b"")
    return encoded
