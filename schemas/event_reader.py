"""What routing needs of a tracking event, read from its bytes without building the record.

Every byte is checked on the way: the walk accepts exactly the values that `schemas.codec.decode`
accepts (see there for "well formed"), so what is passed on can be decoded by any tenant, and what
is cut at `restricted_at` is a whole record again.

Each version has two walks. The plain one is the rule. The quick one takes what nearly every record
is (ASCII, no string above 63 bytes, a time between 1970 and 2039) and gives up on anything else,
right or wrong, which the plain one then judges; it costs a fifth.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from mypy_extensions import i64

from schemas.codec import FRAME_BYTES, MalformedRecordError, UnknownFrameError, frame_id
from schemas.strict_avro import (
    DATE_DAYS_MAX,
    DATE_DAYS_MIN,
    TIMESTAMP_MS_MAX,
    TIMESTAMP_MS_MIN,
    read_length,
    read_number,
)

# Enum and union indices as they are written: index n is the byte 2n.
_TIME_BASIS_LAST = 6
_CHANNEL_LAST = 6
_PRESENT: Final = 2
# Strings between unique_tracking_id and restricted: event_name to guaranteed_delivery.
_V1_TEXTS: Final = 15
_V1_RESTRICTED_TEXTS: Final = 2
# By its first byte, how far it is from the start of a string of up to 63 bytes to what follows;
# 0 for a negative or longer length.
_STEPS = bytes(1 + (n >> 1) if n < 128 and not n & 1 else 0 for n in range(256))

EventFields = tuple[bytes, bytes, int, int, bytes, int, int]
"""`EventFacts` as a plain tuple, which the hot loop takes apart in one step."""


class EventFacts(NamedTuple):
    """What a decision and the headers need.

    `event_time_ms` is UTC or local wall clock as `time_basis` says; `time_basis` and `channel` are
    the symbols' indices in the schema (0 UNKNOWN; 1 UTC, 2 LOCAL, 3 AMBIGUOUS; 1 API, 2 WEBHOOK,
    3 SEE). `value[:restricted_at] + b"\\0"` is the same record without its restricted part.
    """

    barcode: bytes
    event_code: bytes
    event_time_ms: int
    time_basis: int
    facility_zip: bytes
    channel: int
    restricted_at: int


def read_event(value: bytes) -> EventFacts:
    """`walk_event` by names."""
    return EventFacts(*walk_event(value))


def walk_event(value: bytes) -> EventFields:
    """`EventFacts` of a framed TrackingEvent of any version this build knows, as a plain tuple.

    Raises UnknownFrameError for any other frame, MalformedRecordError for bytes that are not a
    well-formed record.
    """
    walks = _WALKS.get(value[:FRAME_BYTES])
    if walks is None:
        raise _no_event(value)
    quick, plain = walks
    try:
        facts = quick(value)
        return facts if facts is not None else plain(value)
    except (IndexError, ValueError) as error:
        raise MalformedRecordError(f"tracking_event: {error}") from error


def _no_event(value: bytes) -> ValueError:
    if len(value) < FRAME_BYTES or value[0] != 0:
        return MalformedRecordError("frame")
    return UnknownFrameError(int.from_bytes(value[1:FRAME_BYTES], "big"))


def _quick_v1(value: bytes) -> EventFields | None:
    """Facts of an ordinary record; None for any other. Positions only ever grow.

    A step of 0 leaves the position on a byte that nothing but a time accepts: a union refuses it,
    and no record ends on it. So only the two strings before the time are asked for their step.
    """
    steps = _STEPS
    try:
        code_at: i64 = 5 + steps[value[5]]
        time_at: i64 = code_at + steps[value[code_at]]
        if code_at == 5 or time_at == code_at:
            return None
        event_time_ms = _quick_time(value, time_at)
        if event_time_ms < 0:
            return None
        basis: i64 = value[time_at + 6]
        zip_at: i64 = time_at + 7
        date_at: i64 = zip_at + steps[value[zip_at]]
        pos: i64 = date_at + 1
        if value[date_at]:
            days, after = read_number(value, pos)
            if value[date_at] != _PRESENT or not DATE_DAYS_MIN <= days <= DATE_DAYS_MAX:
                return None
            pos = after
        channel: i64 = value[pos]
        rest_at: i64 = pos + 1
        pos = rest_at
        if value[pos]:
            if value[pos] != _PRESENT:
                return None
            pos += 1
            pos += steps[value[pos]]
        else:
            pos += 1
        for _ in range(_V1_TEXTS):
            pos += steps[value[pos]]
        restricted_at: i64 = pos
        branch: i64 = value[pos]
        pos += 1
        if branch == _PRESENT:
            for _ in range(_V1_RESTRICTED_TEXTS):
                branch = value[pos]
                pos += 1
                if branch == _PRESENT:
                    pos += steps[value[pos]]
                elif branch:
                    return None
        elif branch:
            return None
    except IndexError:
        return None
    if (
        pos != len(value)
        or (basis | channel) & ~6
        or not value[5:time_at].isascii()
        or not (value[zip_at:date_at] + value[rest_at:]).isascii()
    ):
        return None
    return (
        value[6:code_at],
        value[code_at + 1 : time_at],
        event_time_ms,
        basis >> 1,
        value[zip_at + 1 : date_at],
        channel >> 1,
        restricted_at,
    )


def _quick_time(value: bytes, pos: i64) -> i64:
    """Unix ms of an event_time of six bytes, which is 1970 to 2039; -1 for any other."""
    first: i64 = value[pos]
    second: i64 = value[pos + 1]
    third: i64 = value[pos + 2]
    fourth: i64 = value[pos + 3]
    fifth: i64 = value[pos + 4]
    last: i64 = value[pos + 5]
    # All but the last with the high bit, even (not negative), no padding.
    if not first & second & third & fourth & fifth & 0x80 or first & 1 or not 0 < last < 0x80:
        return -1
    low = (first & 0x7F) >> 1 | (second & 0x7F) << 6 | (third & 0x7F) << 13
    return low | (fourth & 0x7F) << 20 | (fifth & 0x7F) << 27 | last << 34


def _plain_v1(value: bytes) -> EventFields:
    """Facts of any well-formed record. An index beyond the end raises IndexError."""
    code_at = _text(value, FRAME_BYTES)
    time_at = _text(value, code_at)
    event_time_ms, pos = read_number(value, time_at)
    if not TIMESTAMP_MS_MIN <= event_time_ms <= TIMESTAMP_MS_MAX:
        raise ValueError("event_time is out of range")
    basis = value[pos]
    if basis & 1 or basis > _TIME_BASIS_LAST:
        raise ValueError("time_basis")
    zip_at = pos + 1
    date_at = _text(value, zip_at)
    pos = date_at + 1
    if _is_present(value, date_at):
        days, pos = read_number(value, pos)
        if not DATE_DAYS_MIN <= days <= DATE_DAYS_MAX:
            raise ValueError("mailing_date is out of range")
    channel = value[pos]
    if channel & 1 or channel > _CHANNEL_LAST:
        raise ValueError("channel")
    pos = _optional_text(value, pos + 1)
    for _ in range(_V1_TEXTS):
        pos = _text(value, pos)
    restricted_at = pos
    pos += 1
    if _is_present(value, restricted_at):
        for _ in range(_V1_RESTRICTED_TEXTS):
            pos = _optional_text(value, pos)
    if pos != len(value):
        raise ValueError(f"bytes left over at {pos}")
    return (
        _content(value, FRAME_BYTES, code_at),
        _content(value, code_at, time_at),
        event_time_ms,
        basis >> 1,
        _content(value, zip_at, date_at),
        channel >> 1,
        restricted_at,
    )


def _is_present(value: bytes, pos: int) -> bool:
    """Branch of a union of null and one other type."""
    branch = value[pos]
    if branch not in (0, _PRESENT):
        raise ValueError(f"union at {pos}")
    return branch == _PRESENT


def _content(value: bytes, pos: int, end: int) -> bytes:
    length, _ = read_length(value, pos)
    return value[end - length : end]


def _optional_text(value: bytes, pos: int) -> int:
    return _text(value, pos + 1) if _is_present(value, pos) else pos + 1


def _text(value: bytes, pos: int) -> int:
    """End of the string at `pos`; UnicodeDecodeError, a ValueError, when it is not UTF-8."""
    length, start = read_length(value, pos)
    end = start + length
    value[start:end].decode("utf-8")
    return end


# A new version is a new line here; a frame without one is never walked, passed on or cut.
_WALKS: dict[
    bytes, tuple[Callable[[bytes], EventFields | None], Callable[[bytes], EventFields]]
] = {
    b"\0" + frame_id("tracking_event", 1).to_bytes(4, "big"): (_quick_v1, _plain_v1),
}
