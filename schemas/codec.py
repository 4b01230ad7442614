"""Bytes and records: Confluent frame, then one Avro record, its schema chosen by frame id.

A value is *well formed* when it is a known frame, its record decodes, nothing is left over, the
record encodes again to the very same bytes, and its numbers fit: `int` 32 bits, `timestamp-millis`
and `date` within the years 1 to 9999. "The same bytes" is what makes every reader agree: lenient
decoders take an enum or union index of -1 for the last symbol, a number padded with empty bytes, or
any byte but 0 for "true". No encoder writes these, so whoever sends one is not to be guessed at.

Logical types are not converted: a timestamp stays an int of milliseconds, a date an int of days.
Schemas are package data, named by `avro/frames.json`; each is parsed once, when first needed.
"""

import json
from functools import cache
from importlib.resources import files
from io import BytesIO
from typing import Any, NamedTuple

import fastavro

# What a `datetime` can hold, in UTC: 0001-01-01T00:00:00.000 to 9999-12-31T23:59:59.999. A number
# outside would decode here and crash the reader of a tenant that converts logical types.
TIMESTAMP_MS_MIN = -62_135_596_800_000
TIMESTAMP_MS_MAX = 253_402_300_799_999
DATE_DAYS_MIN = -719_162
DATE_DAYS_MAX = 2_932_896
INT_MIN = -(2**31)
INT_MAX = 2**31 - 1

FRAME_BYTES = 5
"""Length of the Confluent frame: a zero byte and the schema id, four bytes, big endian."""

_AVRO = files("schemas") / "avro"
# What fastavro raises on bytes that are not the record's.
_DECODE_ERRORS = (EOFError, IndexError, ValueError, OverflowError, TypeError)
# What fastavro raises on a record that is not the schema's.
_ENCODE_ERRORS = (ValueError, TypeError, KeyError, AttributeError, OverflowError)


class UnknownFrameError(ValueError):
    """The frame names a schema this build does not know; nothing may be guessed about its bytes."""

    def __init__(self, frame: int) -> None:
        super().__init__(f"unknown frame id {frame}")
        self.frame = frame


class MalformedRecordError(ValueError):
    """The bytes are not a well-formed record; `where` says which part or position is wrong."""

    def __init__(self, where: str) -> None:
        super().__init__(f"malformed record: {where}")
        self.where = where


def _load_frames() -> dict[int, str]:
    names: dict[str, str] = json.loads((_AVRO / "frames.json").read_text("utf-8"))
    return {int(frame): name for frame, name in names.items()}


FRAMES: dict[int, str] = _load_frames()
"""Frame id -> "record/version", e.g. 1 -> "tracking_event/v1". Ids are fixed for ever."""

_IDS = {name: frame for frame, name in FRAMES.items()}


class _Codec(NamedTuple):
    name: str
    schema: Any
    ranges: tuple[tuple[str, int, int], ...]
    prefix: bytes


def frame_id(name: str, version: int = 1) -> int:
    """Frame id of a record's version; ValueError when there is none."""
    try:
        return _IDS[f"{name}/v{version}"]
    except KeyError:
        raise ValueError(f"no schema {name} version {version}") from None


def schema_text(frame: int) -> str:
    """The `.avsc` text of a frame id, as a registry would hold it."""
    try:
        name = FRAMES[frame]
    except KeyError:
        raise UnknownFrameError(frame) from None
    return (_AVRO / f"{name}.avsc").read_text("utf-8")


def encode(name: str, record: dict[str, Any], version: int = 1) -> bytes:
    """Framed bytes of a record; a field left out takes its default.

    ValueError when a field is unknown, missing without default, of another type or out of range.
    """
    codec = _codec(frame_id(name, version))
    out = BytesIO(codec.prefix)
    out.seek(FRAME_BYTES)
    try:
        fastavro.schemaless_writer(out, codec.schema, record, strict_allow_default=True)
    except _ENCODE_ERRORS as error:
        raise ValueError(f"{name}: {error}") from error
    wrong = _out_of_range(codec, record)
    if wrong:
        raise ValueError(f"{name}: {wrong} is out of range")
    return out.getvalue()


def decode(value: bytes) -> tuple[str, dict[str, Any]]:
    """Record name ("tracking_event") and record of a framed value.

    Raises UnknownFrameError, or MalformedRecordError when the value is not well formed.
    """
    if len(value) < FRAME_BYTES or value[0] != 0:
        raise MalformedRecordError("frame")
    codec = _codec(int.from_bytes(value[1:FRAME_BYTES], "big"))
    source = BytesIO(value)
    source.seek(FRAME_BYTES)
    try:
        record: Any = fastavro.schemaless_reader(source, codec.schema, None)
    except _DECODE_ERRORS as error:
        raise MalformedRecordError(f"{codec.name}: {error or 'ends early'}") from error
    if source.tell() != len(value):
        raise MalformedRecordError(f"{codec.name}: bytes left over at {source.tell()}")
    again = BytesIO(codec.prefix)
    again.seek(FRAME_BYTES)
    try:
        fastavro.schemaless_writer(again, codec.schema, record)
    except _ENCODE_ERRORS as error:
        raise MalformedRecordError(f"{codec.name}: {error}") from error
    if again.getvalue() != value:
        raise MalformedRecordError(f"{codec.name}: not the bytes an encoder writes")
    wrong = _out_of_range(codec, record)
    if wrong:
        raise MalformedRecordError(f"{codec.name}: {wrong} is out of range")
    return codec.name, record


@cache
def _codec(frame: int) -> _Codec:
    text = schema_text(frame)
    return _Codec(
        name=FRAMES[frame].partition("/")[0],
        schema=fastavro.parse_schema(json.loads(text, object_hook=_without_logical_type)),
        ranges=tuple(
            bound
            for field in json.loads(text)["fields"]
            for bound in _bounds(field["name"], field["type"])
        ),
        prefix=b"\0" + frame.to_bytes(4, "big"),
    )


def _without_logical_type(node: dict[str, Any]) -> dict[str, Any]:
    node.pop("logicalType", None)
    return node


def _bounds(name: str, kind: Any) -> list[tuple[str, int, int]]:
    """Range of a field of the record itself; inner records hold no numbers (tested)."""
    if isinstance(kind, list):
        return [bound for branch in kind for bound in _bounds(name, branch)]
    if isinstance(kind, dict):
        logical = kind.get("logicalType")
        if logical == "timestamp-millis":
            return [(name, TIMESTAMP_MS_MIN, TIMESTAMP_MS_MAX)]
        if logical == "date":
            return [(name, DATE_DAYS_MIN, DATE_DAYS_MAX)]
        kind = kind["type"]
    return [(name, INT_MIN, INT_MAX)] if kind == "int" else []


def _out_of_range(codec: _Codec, record: dict[str, Any]) -> str:
    for name, low, high in codec.ranges:
        number = record.get(name)
        if number is not None and not low <= number <= high:
            return name
    return ""
