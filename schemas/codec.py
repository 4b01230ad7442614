"""Bytes and records: Confluent frame, then one Avro record, its schema chosen by frame id.

A value is *well formed* when it is a known frame, its record decodes, nothing is left over, the
record encodes again to the very same bytes, and its numbers fit: `int` 32 bits, `timestamp-millis`
and `date` within the years 1 to 9999. "The same bytes" is what makes every reader agree; no encoder
writes anything else, so whoever sends something else is not to be guessed at.

Logical types are not converted: a timestamp stays an int of milliseconds, a date an int of days.
Schemas are package data, named by `avro/frames.json`; each is parsed once, when first needed.
"""

import json
from functools import cache
from importlib.resources import files
from io import BytesIO
from typing import Any, NamedTuple

import fastavro

# Part of what "well formed" promises, so they can be had from here.
from schemas.strict_avro import TIMESTAMP_MS_MAX as TIMESTAMP_MS_MAX
from schemas.strict_avro import TIMESTAMP_MS_MIN as TIMESTAMP_MS_MIN
from schemas.strict_avro import Reader, compile_reader

FRAME_BYTES = 5
"""Length of the Confluent frame: a zero byte and the schema id, four bytes, big endian."""

_AVRO = files("schemas") / "avro"
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
    reader: Reader
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
    value = out.getvalue()
    # The writer does not look at ranges; whatever cannot be read back must not be written.
    try:
        codec.reader(value, FRAME_BYTES)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    return value


def decode(value: bytes) -> tuple[str, dict[str, Any]]:
    """Record name ("tracking_event") and record of a framed value.

    Raises UnknownFrameError, or MalformedRecordError when the value is not well formed.
    """
    if len(value) < FRAME_BYTES or value[0] != 0:
        raise MalformedRecordError("frame")
    codec = _codec(int.from_bytes(value[1:FRAME_BYTES], "big"))
    try:
        record, end = codec.reader(value, FRAME_BYTES)
    except (IndexError, ValueError) as error:
        raise MalformedRecordError(f"{codec.name}: {error}") from error
    if end != len(value):
        raise MalformedRecordError(f"{codec.name}: bytes left over at {end}")
    return codec.name, record


@cache
def _codec(frame: int) -> _Codec:
    text = schema_text(frame)
    named: dict[str, Any] = {}
    logical = fastavro.parse_schema(json.loads(text), named)
    return _Codec(
        name=FRAMES[frame].partition("/")[0],
        schema=fastavro.parse_schema(json.loads(text, object_hook=_without_logical_type)),
        reader=compile_reader(logical, named),
        prefix=b"\0" + frame.to_bytes(4, "big"),
    )


def _without_logical_type(node: dict[str, Any]) -> dict[str, Any]:
    node.pop("logicalType", None)
    return node
