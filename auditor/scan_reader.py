"""[core] The fields of a tracking event that a decision needs, quickly.

A walk over the bytes takes what nearly every event is: ASCII, no text above 63 bytes, times
of up to eight bytes, in the one canonical form. Whatever it does not take, right or wrong, is
judged by fastavro (`auditor/avro_reader.py`), which is the rule; a test compares the two on
damaged events. The walk knows version 1; other versions go to fastavro.
"""

from functools import cache
from typing import NamedTuple

from auditor import avro_reader
from schemas.reasons import QuarantineReason

NAME = "tracking_event/v1"
TIME_BASES = ("UNKNOWN", "UTC", "LOCAL", "AMBIGUOUS")
CHANNELS = ("UNKNOWN", "API", "WEBHOOK", "SEE")
# Texts between unique_tracking_id and restricted, and within restricted.
TEXTS = range(15)
RESTRICTED_TEXTS = range(2)
VARINT_BYTES_MAX = 8
# A named tuple's own constructor takes twice as long.
_new = tuple.__new__
TIME_MS_MIN, TIME_MS_MAX = avro_reader.LOGICAL_BOUNDS["timestamp-millis"]
DAYS_MIN, DAYS_MAX = avro_reader.LOGICAL_BOUNDS["date"]


class Scan(NamedTuple):
    """What a decision and the headers need; `value[:restricted_at] + b"\\0"` is the cut record."""

    barcode: str
    event_code: str
    event_time: int
    time_basis: str
    facility_zip: str
    mailing_date: int | None
    channel: str
    unique_tracking_id: str
    restricted_at: int


def read_scan(value: bytes | None) -> Scan | QuarantineReason:
    """The event, or why these bytes are none."""
    if value is not None and value.startswith(_frame()):
        scan = _walk(value)
        if scan is not None:
            return scan
    return read_scan_by_the_rule(value)


def read_scan_by_the_rule(value: bytes | None) -> Scan | QuarantineReason:
    """The same by fastavro: slow, any version, any bytes."""
    try:
        fields, restricted_at = avro_reader.read_scan(value)
    except avro_reader.UnknownFrameError:
        return QuarantineReason.UNKNOWN_FRAME
    except avro_reader.UnreadableError:
        return QuarantineReason.MALFORMED_RECORD
    return Scan(
        fields["barcode"],
        fields["event_code"],
        fields["event_time"],
        fields["time_basis"],
        fields["facility_zip"],
        fields["mailing_date"],
        fields["channel"],
        fields["unique_tracking_id"] or "",
        restricted_at,
    )


@cache
def _frame() -> bytes:
    return b"\0" + avro_reader.frame_number(NAME).to_bytes(4, "big")


# `odd` gathers every byte that must be a length below 64, or an index of an enum or a union:
# written, such a number is even and below 128, so one look at the end finds any that is not.
# A wrong one leads the walk astray before that, which does no harm.
def _walk(value: bytes) -> Scan | None:
    """An ordinary event; None for any other."""
    try:
        odd = length = value[5]
        at = 6 + (length >> 1)
        barcode = value[6:at].decode("ascii")
        odd |= (length := value[at])
        start, at = at + 1, at + 1 + (length >> 1)
        event_code = value[start:at].decode("ascii")
        event_time, at = _number(value, at)
        basis, length = value[at], value[at + 1]
        odd |= basis | length
        start, at = at + 2, at + 2 + (length >> 1)
        facility_zip = value[start:at].decode("ascii")
        mailing_date = None
        dated = value[at]
        at += 1
        if dated:
            mailing_date, at = _number(value, at)
            if dated != 2 or not DAYS_MIN <= mailing_date <= DAYS_MAX:
                return None
        rest = at
        channel, present = value[at], value[at + 1]
        odd |= channel
        at += 2
        unique_tracking_id = ""
        if present:
            odd |= (length := value[at])
            start, at = at + 1, at + 1 + (length >> 1)
            unique_tracking_id = value[start:at].decode("ascii")
        texts_present = present
        for _ in TEXTS:
            odd |= (length := value[at])
            at += 1 + (length >> 1)
        restricted_at = at
        present = value[at]
        texts_present |= present
        at += 1
        if present:
            for _ in RESTRICTED_TEXTS:
                present = value[at]
                texts_present |= present
                at += 1
                if present:
                    odd |= (length := value[at])
                    at += 1 + (length >> 1)
        if (
            at != len(value)
            or odd & 0x81
            or texts_present & ~2
            or not TIME_MS_MIN <= event_time <= TIME_MS_MAX
            or not value[rest:].isascii()
        ):
            return None
        return _new(
            Scan,
            (
                barcode,
                event_code,
                event_time,
                TIME_BASES[basis >> 1],
                facility_zip,
                mailing_date,
                CHANNELS[channel >> 1],
                unique_tracking_id,
                restricted_at,
            ),
        )
    except (IndexError, ValueError):
        return None


def _number(value: bytes, at: int) -> tuple[int, int]:
    """A zigzag number of at most eight bytes, and where it ends. ValueError for any other form."""
    first = at
    byte = value[at]
    total = byte & 0x7F
    shift = 7
    while byte & 0x80:
        if shift >= 7 * VARINT_BYTES_MAX:
            raise ValueError("too long for this walk")
        at += 1
        byte = value[at]
        total |= (byte & 0x7F) << shift
        shift += 7
    if byte == 0 and at > first:
        raise ValueError("not in canonical form")
    return (total >> 1) ^ -(total & 1), at + 1
