"""What a tracking event says about its piece beside the number: mailing date, unique tracking id.

Read apart from the routing fields, as only the few events that need a label are asked for it.
"""

from typing import NamedTuple

from schemas.codec import FRAME_BYTES
from schemas.strict_avro import read_length, read_number


class PieceIdentity(NamedTuple):
    """`mailing_date` in days since 1970, or None; `unique_tracking_id`, or empty."""

    mailing_date: int | None
    unique_tracking_id: str


def read_piece(value: bytes) -> PieceIdentity:
    """The identity in the bytes of an event that `schemas.event_reader` has accepted.

    All versions have the fields up to `unique_tracking_id` in the same places.
    """
    pos = _behind(value, _behind(value, FRAME_BYTES))  # barcode, event_code
    _, pos = read_number(value, pos)  # event_time
    pos = _behind(value, pos + 1)  # time_basis, facility_zip
    mailing_date: int | None = None
    is_dated = value[pos]
    pos += 1
    if is_dated:
        mailing_date, pos = read_number(value, pos)
    pos += 1  # channel
    if not value[pos]:
        return PieceIdentity(mailing_date, "")
    length, start = read_length(value, pos + 1)
    return PieceIdentity(mailing_date, value[start : start + length].decode("utf-8"))


def _behind(value: bytes, pos: int) -> int:
    """End of the string at `pos`."""
    length, start = read_length(value, pos)
    return start + length
