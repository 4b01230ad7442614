"""[core] Bytes to records with fastavro, over the published schemas.

A value is a zero byte, four bytes of frame id (big endian) and the Avro body. Logical types are
taken out of the schemas, so that times stay integers; a body must be used up to its last byte.
"""

import io
import json
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

import fastavro
from fastavro.types import Schema

FRAME_BYTES = 5
# Years 1 to 9999, in milliseconds and in days since 1970.
LOGICAL_BOUNDS = {
    "timestamp-millis": (-62_135_596_800_000, 253_402_300_799_999),
    "date": (-719_162, 2_932_896),
}


class UnreadableError(ValueError):
    """The bytes are no whole record of the frame they claim."""


class UnknownFrameError(ValueError):
    """The frame id is not one of those published."""


class ScanRecord(NamedTuple):
    """A tracking event, and where in the value its restricted part begins."""

    fields: dict[str, Any]
    restricted_at: int


@cache
def frames() -> dict[int, str]:
    """Frame id to record name with version, as published."""
    text = files("schemas").joinpath("avro/frames.json").read_text(encoding="utf-8")
    return {int(number): name for number, name in json.loads(text).items()}


@cache
def frame_number(name: str) -> int:
    """Frame id of `record/vN`."""
    return {name: number for number, name in frames().items()}[name]


@cache
def instant_fields(record: str) -> frozenset[str]:
    """Names of all fields, of whatever published version of a record, that hold an instant."""
    return frozenset(
        field["name"]
        for name in frames().values()
        if name.split("/")[0] == record
        for field in _published(name)["fields"]
        if "timestamp-millis" in json.dumps(field["type"])
    )


def frame_of(value: bytes | None) -> str:
    """Name of the framed record, for example `grant/v1`.

    Raises UnreadableError for what has no frame, UnknownFrameError for a frame not published.
    """
    if value is None or len(value) < FRAME_BYTES or value[0] != 0:
        raise UnreadableError("no frame: a zero byte and four bytes of frame id")
    number = int.from_bytes(value[1:FRAME_BYTES], "big")
    if number not in frames():
        raise UnknownFrameError(f"frame id {number} is not known")
    return frames()[number]


def read(value: bytes | None) -> tuple[str, dict[str, Any]]:
    """The record's name without version, and the record. Raises as `frame_of` does."""
    name = frame_of(value)
    assert value is not None  # frame_of refused it otherwise
    stream = io.BytesIO(value)
    stream.seek(FRAME_BYTES)
    record = _decode(stream, _schema(name))
    if stream.tell() != len(value):
        raise UnreadableError(f"{len(value) - stream.tell()} bytes too many")
    _require_canonical(value, record, name)
    return name.split("/")[0], record


def read_scan(value: bytes | None) -> ScanRecord:
    """A tracking event. A frame that is not a tracking event's counts as unknown."""
    name = frame_of(value)
    if not name.startswith("tracking_event/"):
        raise UnknownFrameError(f"{name} is no tracking event")
    assert value is not None  # frame_of refused it otherwise
    _, fields = read(value)
    # Read accepts one form of bytes only, so the last field takes what encoding it takes.
    last = io.BytesIO()
    fastavro.schemaless_writer(last, _restricted_schema(name), fields["restricted"])
    return ScanRecord(fields, len(value) - len(last.getvalue()))


def encode(name: str, record: dict[str, Any]) -> bytes:
    """A framed record; used by tests to build topics by hand."""
    stream = io.BytesIO()
    stream.write(b"\0" + frame_number(name).to_bytes(4, "big"))
    fastavro.schemaless_writer(stream, _schema(name), record)
    return stream.getvalue()


def _decode(stream: io.BytesIO, schema: Schema) -> Any:
    try:
        return fastavro.schemaless_reader(stream, schema, None)
    except (EOFError, IndexError, ValueError, OverflowError, MemoryError) as error:
        raise UnreadableError(f"does not decode: {error}") from error


def _require_canonical(value: bytes, record: dict[str, Any], name: str) -> None:
    """Refuse what decodes only because the decoder is lenient.

    fastavro takes an enum or union index of -1 for the last entry, any byte for a boolean and
    varints of any length. A value in another than the one canonical encoding is not trusted.
    """
    for field, low, high in _bounds(name):
        number = record[field]
        if number is not None and not low <= number <= high:
            raise UnreadableError(f"{field} is out of range: {number}")
    stream = io.BytesIO()
    try:
        fastavro.schemaless_writer(stream, _schema(name), record)
    except (ValueError, OverflowError, TypeError) as error:
        raise UnreadableError(f"holds a value outside its type: {error}") from error
    if stream.getvalue() != value[FRAME_BYTES:]:
        raise UnreadableError("is not in canonical form")


def _without_logical_types(node: Any) -> Any:
    if isinstance(node, dict):
        return {
            name: _without_logical_types(part)
            for name, part in node.items()
            if name != "logicalType"
        }
    if isinstance(node, list):
        return [_without_logical_types(part) for part in node]
    return node


def _published(name: str) -> dict[str, Any]:
    text = files("schemas").joinpath(f"avro/{name}.avsc").read_text(encoding="utf-8")
    published: dict[str, Any] = json.loads(text)
    return published


def _source(name: str) -> dict[str, Any]:
    source: dict[str, Any] = _without_logical_types(_published(name))
    return source


@cache
def _bounds(name: str) -> list[tuple[str, int, int]]:
    """Fields of a record that hold a bounded number, with its least and greatest value."""
    bounds = []
    for field in _published(name)["fields"]:
        kinds = field["type"] if isinstance(field["type"], list) else [field["type"]]
        for kind in kinds:
            plain = kind if isinstance(kind, str) else kind["type"]
            logical = "" if isinstance(kind, str) else kind.get("logicalType", "")
            if logical in LOGICAL_BOUNDS:
                bounds.append((field["name"], *LOGICAL_BOUNDS[logical]))
            elif plain == "int":
                bounds.append((field["name"], -(2**31), 2**31 - 1))
    return bounds


@cache
def _schema(name: str) -> Schema:
    return fastavro.parse_schema(_source(name))


@cache
def _restricted_schema(name: str) -> Schema:
    """The schema of the last field, which must be `restricted` in every version."""
    last = _source(name)["fields"][-1]
    if last["name"] != "restricted":
        raise AssertionError(f"{name}: restricted must be the last field")
    return fastavro.parse_schema(last["type"])
