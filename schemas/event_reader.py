"""What routing needs of a tracking event, read from its bytes without building the record.

Every byte is checked on the way: the walk accepts exactly the values that `schemas.codec.decode`
accepts (see there for "well formed"), so what is passed on can be decoded by any tenant, and what
is cut at `restricted_at` is a whole record again. A full decode costs ten times as much.

Most of a record is a run of short strings. When everything behind the numbers is ASCII, which also
means that every length is one byte, the run is walked by its length bytes alone.
"""

from collections.abc import Callable
from typing import NamedTuple

from schemas.codec import (
    DATE_DAYS_MAX,
    DATE_DAYS_MIN,
    FRAME_BYTES,
    TIMESTAMP_MS_MAX,
    TIMESTAMP_MS_MIN,
    MalformedRecordError,
    UnknownFrameError,
    frame_id,
)

_TIME_BASIS_LAST = 3
_CHANNEL_LAST = 3
# Strings between unique_tracking_id and restricted: event_name to guaranteed_delivery.
_V1_TEXTS = range(15)
_V1_RESTRICTED_TEXTS = range(2)
# Longest varint of 64 bits.
_VARINT_BYTES_MAX = 10
_UINT64_MAX = 2**64 - 1


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
    """Facts of a framed TrackingEvent of any version this build knows.

    Raises UnknownFrameError for any other frame, MalformedRecordError for bytes that are not a
    well-formed record.
    """
    if len(value) < FRAME_BYTES or value[0] != 0:
        raise MalformedRecordError("frame")
    reader = _READERS.get(value[:FRAME_BYTES])
    if reader is None:
        raise UnknownFrameError(int.from_bytes(value[1:FRAME_BYTES], "big"))
    try:
        return reader(value)
    except IndexError:
        raise MalformedRecordError("tracking_event: ends early") from None


def _read_v1(value: bytes) -> EventFacts:
    """Walk version 1. An index beyond the end raises IndexError; positions only ever grow."""
    # barcode, event_code
    length = value[5]
    pos = 6
    if length & 0x81:
        length, pos = _text_length(value, 5)
    else:
        length >>= 1
    barcode = value[pos : pos + length]
    pos += length
    length = value[pos]
    pos += 1
    if length & 0x81:
        length, pos = _text_length(value, pos - 1)
    else:
        length >>= 1
    event_code = value[pos : pos + length]
    pos += length
    # event_time
    event_time_ms, pos = _number(value, pos)
    if not TIMESTAMP_MS_MIN <= event_time_ms <= TIMESTAMP_MS_MAX:
        raise MalformedRecordError("tracking_event: event_time is out of range")
    # time_basis
    basis = value[pos]
    if basis & 1 or basis > 2 * _TIME_BASIS_LAST:
        raise MalformedRecordError("tracking_event: time_basis")
    # facility_zip
    length = value[pos + 1]
    pos += 2
    if length & 0x81:
        length, pos = _text_length(value, pos - 1)
    else:
        length >>= 1
    facility_zip = value[pos : pos + length]
    pos += length
    # mailing_date
    branch = value[pos]
    pos += 1
    if branch:
        if branch != 2:
            raise MalformedRecordError("tracking_event: mailing_date")
        days, pos = _number(value, pos)
        if not DATE_DAYS_MIN <= days <= DATE_DAYS_MAX:
            raise MalformedRecordError("tracking_event: mailing_date is out of range")
    # channel
    channel = value[pos]
    pos += 1
    if channel & 1 or channel > 2 * _CHANNEL_LAST:
        raise MalformedRecordError("tracking_event: channel")
    if not (barcode.isascii() and event_code.isascii() and facility_zip.isascii()):
        for text in (barcode, event_code, facility_zip):
            _check_text(text)
    # unique_tracking_id to guaranteed_delivery, then restricted
    if value[pos:].isascii():
        restricted_at = _walk_ascii_v1(value, pos)
    else:
        restricted_at = _walk_texts_v1(value, pos)
    return EventFacts(
        barcode, event_code, event_time_ms, basis >> 1, facility_zip, channel >> 1, restricted_at
    )


def _walk_ascii_v1(value: bytes, pos: int) -> int:
    """Where `restricted` starts, in a rest without bytes above 127: all lengths are one byte."""
    odd = 0
    branch = value[pos]
    pos += 1
    if branch:
        if branch != 2:
            raise MalformedRecordError("tracking_event: unique_tracking_id")
        length = value[pos]
        odd |= length
        pos += 1 + (length >> 1)
    for _ in _V1_TEXTS:
        length = value[pos]
        odd |= length
        pos += 1 + (length >> 1)
    restricted_at = pos
    branch = value[pos]
    pos += 1
    if branch:
        if branch != 2:
            raise MalformedRecordError("tracking_event: restricted")
        for _ in _V1_RESTRICTED_TEXTS:
            branch = value[pos]
            pos += 1
            if branch:
                if branch != 2:
                    raise MalformedRecordError("tracking_event: restricted")
                length = value[pos]
                odd |= length
                pos += 1 + (length >> 1)
    # An odd length byte is a negative length. The walk went on past it, but only forward.
    if odd & 1:
        raise MalformedRecordError("tracking_event: negative length")
    if pos != len(value):
        raise MalformedRecordError("tracking_event: length of the record")
    return restricted_at


def _walk_texts_v1(value: bytes, pos: int) -> int:
    """Where `restricted` starts, in any rest; every string is checked to be UTF-8."""
    pos = _optional_text(value, pos)
    for _ in _V1_TEXTS:
        pos = _text(value, pos)
    restricted_at = pos
    branch = value[pos]
    pos += 1
    if branch:
        if branch != 2:
            raise MalformedRecordError("tracking_event: restricted")
        for _ in _V1_RESTRICTED_TEXTS:
            pos = _optional_text(value, pos)
    if pos != len(value):
        raise MalformedRecordError("tracking_event: length of the record")
    return restricted_at


def _optional_text(value: bytes, pos: int) -> int:
    branch = value[pos]
    if branch == 0:
        return pos + 1
    if branch != 2:
        raise MalformedRecordError(f"tracking_event: union at {pos}")
    return _text(value, pos + 1)


def _text(value: bytes, pos: int) -> int:
    """End of the string at `pos`."""
    length, pos = _text_length(value, pos)
    _check_text(value[pos : pos + length])
    return pos + length


def _check_text(text: bytes) -> None:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedRecordError("tracking_event: a string is not UTF-8") from None


def _text_length(value: bytes, pos: int) -> tuple[int, int]:
    """Length of the string at `pos`, and where it starts; the string ends inside the value."""
    length, pos = _number(value, pos)
    if length < 0 or length > len(value) - pos:
        raise MalformedRecordError(f"tracking_event: length before {pos}")
    return length, pos


def _number(value: bytes, pos: int) -> tuple[int, int]:
    """Zigzag varint at `pos`, and what follows it; at most 64 bits, in its shortest form."""
    byte = value[pos]
    number = byte & 0x7F
    start = pos
    shift = 7
    while byte & 0x80:
        pos += 1
        if pos - start >= _VARINT_BYTES_MAX:
            raise MalformedRecordError(f"tracking_event: number at {start}")
        byte = value[pos]
        number |= (byte & 0x7F) << shift
        shift += 7
    if (byte == 0 and pos > start) or number > _UINT64_MAX:
        raise MalformedRecordError(f"tracking_event: number at {start}")
    return (number >> 1) ^ -(number & 1), pos + 1


# A new version is a new line here; a frame without one is never walked, passed on or cut.
_READERS: dict[bytes, Callable[[bytes], EventFacts]] = {
    b"\0" + frame_id("tracking_event", 1).to_bytes(4, "big"): _read_v1,
}
