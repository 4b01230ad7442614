"""Records of every published schema, broken bytes, and fastavro as the judge of both."""

import io
import json
from functools import cache
from importlib.resources import files
from typing import Any

import fastavro
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

FRAMES: dict[int, str] = {
    int(frame): name
    for frame, name in json.loads((files("schemas") / "avro/frames.json").read_text()).items()
}
BOUNDS = {
    "int": (-(2**31), 2**31 - 1),
    "long": (-(2**63), 2**63 - 1),
    "timestamp-millis": (-62_135_596_800_000, 253_402_300_799_999),
    "date": (-719_162, 2_932_896),
}
TRACKING_EVENT = 1


def bounded(examples: int) -> settings:
    """How long a property test goes on; no deadline, as the machine is shared."""
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(max_examples=examples, deadline=None, suppress_health_check=slow)


def avsc(frame: int) -> dict[str, Any]:
    """The published schema, as it stands in its file."""
    text = (files("schemas") / f"avro/{FRAMES[frame]}.avsc").read_text()
    schema: dict[str, Any] = json.loads(text)
    return schema


def prefix(frame: int) -> bytes:
    return b"\0" + frame.to_bytes(4, "big")


@cache
def parsed(frame: int) -> Any:
    """The schema without logical types, as fastavro wants it."""
    return fastavro.parse_schema(_plain(avsc(frame)))


def encoded(frame: int, record: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    out.write(prefix(frame))
    fastavro.schemaless_writer(out, parsed(frame), record)
    return out.getvalue()


def well_formed(value: bytes) -> dict[str, Any] | None:
    """The record, where fastavro decodes all of it, writes the same bytes again and numbers fit."""
    frame = int.from_bytes(value[1:5], "big")
    source = io.BytesIO(value)
    source.seek(5)
    try:
        record: Any = fastavro.schemaless_reader(source, parsed(frame), None)
        again = encoded(frame, record)
    except (EOFError, IndexError, ValueError, OverflowError, TypeError):
        return None
    if source.tell() != len(value) or again != value:
        return None
    if not _within_bounds(avsc(frame), record):
        return None
    return dict(record)


def _within_bounds(schema: Any, value: Any) -> bool:
    """Whether every number fits its type, those in records of an array, too."""
    if isinstance(schema, list):
        return value is None or all(_within_bounds(branch, value) for branch in schema)
    kind = schema if isinstance(schema, str) else schema.get("logicalType", schema["type"])
    if kind == "record":
        if not isinstance(value, dict):
            return True
        return all(_within_bounds(one["type"], value[one["name"]]) for one in schema["fields"])
    if kind == "array":
        return all(_within_bounds(schema["items"], item) for item in value)
    low, high = BOUNDS.get(kind, (None, None))
    return low is None or not isinstance(value, int) or low <= value <= high


def records(frame: int) -> st.SearchStrategy[dict[str, Any]]:
    """Any record of the schema, as plain values."""
    strategy: st.SearchStrategy[dict[str, Any]] = _of(avsc(frame), {})
    return strategy


def values(frame: int) -> st.SearchStrategy[bytes]:
    """Framed bytes of any record of the schema."""
    return records(frame).map(lambda record: encoded(frame, record))


@st.composite
def mutated(draw: st.DrawFn, frame: int) -> bytes:
    """Framed bytes of a record, cut, flipped, changed, extended or with bytes put in or out."""
    value = bytearray(draw(values(frame)))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(5, max(5, len(value) - 1)))
        kind = draw(st.sampled_from(["cut", "flip", "set", "extend", "insert", "delete"]))
        if kind == "cut":
            del value[at:]
        elif kind == "flip" and at < len(value):
            value[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "set" and at < len(value):
            value[at] = draw(st.sampled_from([0, 1, 2, 3, 4, 6, 8, 0x7F, 0x80, 0x81, 0xFE, 0xFF]))
        elif kind == "extend":
            value += draw(st.binary(min_size=1, max_size=12))
        elif kind == "insert":
            value[at:at] = draw(st.binary(min_size=1, max_size=3))
        else:
            del value[at : at + draw(st.integers(1, 3))]
    return bytes(value)


def garbage(frame: int) -> st.SearchStrategy[bytes]:
    """The frame, and then anything; small bytes, as they get further."""
    small = st.lists(st.integers(0, 8), max_size=60).map(bytes)
    return (st.binary(max_size=80) | small).map(lambda body: prefix(frame) + body)


def _plain(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _plain(part) for key, part in node.items() if key != "logicalType"}
    if isinstance(node, list):
        return [_plain(part) for part in node]
    return node


def _of(schema: Any, named: dict[str, Any]) -> st.SearchStrategy[Any]:
    if isinstance(schema, list):
        return st.one_of([_of(branch, named) for branch in schema])
    if isinstance(schema, str):
        schema = named.get(schema, {"type": schema})
    kind = schema["type"]
    if kind in ("record", "enum", "fixed"):
        named[schema["name"]] = schema
    if kind == "record":
        parts = {field["name"]: _of(field["type"], named) for field in schema["fields"]}
        return st.fixed_dictionaries(parts)
    if kind == "enum":
        return st.sampled_from(schema["symbols"])
    if kind == "fixed":
        return st.binary(min_size=schema["size"], max_size=schema["size"])
    if kind == "array":
        return st.lists(_of(schema["items"], named), max_size=4)
    if kind in ("int", "long"):
        return _numbers(*BOUNDS[schema.get("logicalType", kind)])
    plain: dict[str, st.SearchStrategy[Any]] = {
        "null": st.none(),
        "boolean": st.booleans(),
        "string": _TEXTS,
        "bytes": st.binary(max_size=80),
    }
    return plain[kind]


def _numbers(low: int, high: int) -> st.SearchStrategy[int]:
    near = st.integers(max(low, -70), min(high, 70))
    present = st.integers(1_500_000_000_000, 2_300_000_000_000).filter(lambda n: low <= n <= high)
    kinds = [st.integers(low, high), near, st.sampled_from([low, high])]
    return st.one_of([*kinds, present] if high > 2_300_000_000_000 else kinds)


# Mostly what feeds bring, at times long (a length of two bytes) or beyond ASCII.
_TEXTS = st.one_of(
    st.text(alphabet="0123456789ABC abc", max_size=30),
    st.text(alphabet="0123456789", min_size=60, max_size=70),
    st.text(max_size=12),
)
