"""Avro binary to plain Python values, accepting only the bytes that an encoder writes.

fastavro decodes these records, too, but takes an index of -1 for the last symbol, numbers padded
with empty bytes and any byte for "true". Catching that by encoding again made a grant and its
envelope cost 57 µs, almost 6 s for 100,000 of them; a schema compiled here once to a chain of small
functions is strict by itself and takes 12 µs. It stays within what our schemas use: no maps, no
floats, no recursion. Tests compare it with fastavro on valid and broken bytes of every schema.

A reader is a function (value, position) -> (datum, position after it). It raises ValueError with
the position, or IndexError where the value ends early.
"""

from collections.abc import Callable
from typing import Any

Reader = Callable[[bytes, int], tuple[Any, int]]

# What a `datetime` can hold, in UTC: 0001-01-01T00:00:00.000 to 9999-12-31T23:59:59.999. A number
# outside would decode here and crash the reader of a tenant that converts logical types.
TIMESTAMP_MS_MIN = -62_135_596_800_000
TIMESTAMP_MS_MAX = 253_402_300_799_999
DATE_DAYS_MIN = -719_162
DATE_DAYS_MAX = 2_932_896
INT_MIN = -(2**31)
INT_MAX = 2**31 - 1

# Longest varint of 64 bits.
_VARINT_BYTES_MAX = 10
_UINT64_MAX = 2**64 - 1


def compile_reader(schema: Any, named: dict[str, Any]) -> Reader:
    """Reader of a schema as fastavro parsed it, with `named` types by full name.

    ValueError for a type that our schemas do not use.
    """
    if isinstance(schema, list):
        return _union_reader([compile_reader(branch, named) for branch in schema])
    if isinstance(schema, str):
        if schema in named:
            return compile_reader(named[schema], named)
        schema = {"type": schema}
    kind = schema["type"]
    if kind == "record":
        fields = [(one["name"], compile_reader(one["type"], named)) for one in schema["fields"]]
        return _record_reader(fields)
    if kind == "enum":
        return _enum_reader(schema["symbols"])
    if kind == "fixed":
        return _fixed_reader(schema["size"])
    if kind == "array":
        return _array_reader(compile_reader(schema["items"], named))
    if kind in ("int", "long"):
        return _number_reader(kind, schema.get("logicalType", ""))
    if kind in _PLAIN_READERS:
        return _PLAIN_READERS[kind]
    raise ValueError(f"Avro type {kind} is not used in the schemas of Midgate")


def read_number(value: bytes, pos: int) -> tuple[int, int]:
    """Zigzag varint of at most 64 bits, in its shortest form."""
    byte = value[pos]
    number = byte & 0x7F
    start = pos
    shift = 7
    while byte & 0x80:
        pos += 1
        if pos - start >= _VARINT_BYTES_MAX:
            raise ValueError(f"number of more than 64 bits at {start}")
        byte = value[pos]
        number |= (byte & 0x7F) << shift
        shift += 7
    if byte == 0 and pos > start:
        raise ValueError(f"padded number at {start}")
    if number > _UINT64_MAX:
        raise ValueError(f"number of more than 64 bits at {start}")
    return (number >> 1) ^ -(number & 1), pos + 1


def read_length(value: bytes, pos: int) -> tuple[int, int]:
    """Length of the string or bytes at `pos`, which end inside the value, and where they start."""
    length = value[pos]
    if length & 0x81:
        length, start = read_number(value, pos)
        if length < 0:
            raise ValueError(f"negative length at {pos}")
    else:
        length >>= 1
        start = pos + 1
    if length > len(value) - start:
        raise ValueError(f"length beyond the end at {pos}")
    return length, start


def _read_null(value: bytes, pos: int) -> tuple[Any, int]:
    return None, pos


def _read_boolean(value: bytes, pos: int) -> tuple[Any, int]:
    byte = value[pos]
    if byte > 1:
        raise ValueError(f"no boolean at {pos}")
    return byte == 1, pos + 1


def _read_string(value: bytes, pos: int) -> tuple[Any, int]:
    length, pos = read_length(value, pos)
    end = pos + length
    return value[pos:end].decode("utf-8"), end


def _read_bytes(value: bytes, pos: int) -> tuple[Any, int]:
    length, pos = read_length(value, pos)
    end = pos + length
    return value[pos:end], end


_PLAIN_READERS: dict[str, Reader] = {
    "null": _read_null,
    "boolean": _read_boolean,
    "string": _read_string,
    "bytes": _read_bytes,
}


def _number_reader(kind: str, logical: str) -> Reader:
    if logical == "timestamp-millis":
        return _bounded_reader(TIMESTAMP_MS_MIN, TIMESTAMP_MS_MAX)
    if logical == "date":
        return _bounded_reader(DATE_DAYS_MIN, DATE_DAYS_MAX)
    return _bounded_reader(INT_MIN, INT_MAX) if kind == "int" else read_number


def _bounded_reader(low: int, high: int) -> Reader:
    def read(value: bytes, pos: int) -> tuple[Any, int]:
        number, end = read_number(value, pos)
        if not low <= number <= high:
            raise ValueError(f"number out of range at {pos}")
        return number, end

    return read


def _enum_reader(symbols: list[str]) -> Reader:
    def read(value: bytes, pos: int) -> tuple[Any, int]:
        index, end = read_number(value, pos)
        if not 0 <= index < len(symbols):
            raise ValueError(f"no symbol at {pos}")
        return symbols[index], end

    return read


def _fixed_reader(size: int) -> Reader:
    def read(value: bytes, pos: int) -> tuple[Any, int]:
        end = pos + size
        if end > len(value):
            raise ValueError(f"{size} bytes beyond the end at {pos}")
        return value[pos:end], end

    return read


def _union_reader(branches: list[Reader]) -> Reader:
    def read(value: bytes, pos: int) -> tuple[Any, int]:
        index, end = read_number(value, pos)
        if not 0 <= index < len(branches):
            raise ValueError(f"no branch at {pos}")
        return branches[index](value, end)

    return read


def _array_reader(item: Reader) -> Reader:
    """Arrays in one block, as encoders write them that know the length beforehand."""

    def read(value: bytes, pos: int) -> tuple[Any, int]:
        count, end = read_number(value, pos)
        items: list[Any] = []
        if count == 0:
            return items, end
        # Items take a byte or more, so the value bounds their number.
        if not 0 < count <= len(value) - end:
            raise ValueError(f"no number of items at {pos}")
        for _ in range(count):
            datum, end = item(value, end)
            items.append(datum)
        if value[end] != 0:
            raise ValueError(f"array in several blocks at {end}")
        return items, end + 1

    return read


def _record_reader(fields: list[tuple[str, Reader]]) -> Reader:
    def read(value: bytes, pos: int) -> tuple[Any, int]:
        record: dict[str, Any] = {}
        for name, reader in fields:
            record[name], pos = reader(value, pos)
        return record, pos

    return read
