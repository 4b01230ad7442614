"""What a tracking event says about its piece beside the number: mailing date, unique tracking id.

Read apart from the routing fields, as only the few events that need a label are asked for it.
"""

from typing import NamedTuple

from schemas.codec import FRAME_BYTES
from schemas.strict_avro import read_length, read_number

# Of a number of several bytes: another one follows.
_MORE = 0x80


class PieceIdentity(NamedTuple):
    """`mailing_date` in days since 1970, or None; `unique_tracking_id`, or empty."""

    mailing_date: int | None
    unique_tracking_id: str


NO_IDENTITY = PieceIdentity(None, "")
"""What the Scan Event Extract says."""


def read_piece(value: bytes) -> PieceIdentity:
    """The identity in the bytes of an event that `schemas.event_reader` has accepted.

    All versions have the fields up to `unique_tracking_id` in the same places.
    """
    pos = _behind(value, _behind(value, FRAME_BYTES))  # barcode, event_code
    while value[pos] & _MORE:  # event_time
        pos += 1
    pos = _behind(value, pos + 2)  # time_basis, facility_zip
    is_dated = value[pos]
    # Behind the date: the channel.
    if not is_dated and not value[pos + 2]:
        return NO_IDENTITY
    mailing_date: int | None = None
    pos += 1
    if is_dated:
        mailing_date, pos = read_number(value, pos)
    pos += 1
    if not value[pos]:
        return PieceIdentity(mailing_date, "")
    length, start = read_length(value, pos + 1)
    return PieceIdentity(mailing_date, value[start : start + length].decode("utf-8"))


def _behind(value: bytes, pos: int) -> int:
    """End of the string at `pos`."""
    length = value[pos]
    if length & _MORE:
        length, start = read_length(value, pos)
        return start + length
    return pos + 1 + (length >> 1)
