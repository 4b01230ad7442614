"""Groups of the two-character USPS event codes: words for people and statistics, never for rights.

A code is a string ("01" is not 1). USPS adds codes; one not listed passes through as `unknown`.
"""

from enum import StrEnum


class EventGroup(StrEnum):
    """Where a piece is in its life, as far as one scan says."""

    PRE_SHIPMENT = "pre_shipment"
    ACCEPT = "accept"
    IN_TRANSIT = "in_transit"
    OUT_FOR_DELIVERY = "out_for_delivery"
    AVAILABLE = "available"
    DELIVERED = "delivered"
    ATTEMPT = "attempt"
    EXCEPTION = "exception"
    RETURN = "return"
    ALERT = "alert"
    OTHER = "other"
    UNKNOWN = "unknown"


_CODES = {
    EventGroup.PRE_SHIPMENT: "GX MA GC 83 89 80 81 82 GA",
    EventGroup.ACCEPT: "03 OA AD UA PA TM 43 17",
    EventGroup.IN_TRANSIT: "10 EF SF 07 PC L1 T1 NT A1",
    EventGroup.OUT_FOR_DELIVERY: "OF",
    EventGroup.AVAILABLE: "14 16",
    EventGroup.DELIVERED: "01",
    EventGroup.ATTEMPT: "02 30 51 52 53 54 55 56 71",
    # Refused, undeliverable, forwarded, missent, mis-shipped, recalled, dead letter.
    EventGroup.EXCEPTION: "04 05 06 08 15 44 11",
    EventGroup.RETURN: "09 21 22 23 24 25 26 27 28 29 31",
    EventGroup.ALERT: "DX",
    EventGroup.OTHER: "19 41 42",
}

EVENT_GROUPS: dict[str, EventGroup] = {
    code: group for group, codes in _CODES.items() for code in codes.split()
}
"""Every code known, with its group."""


def event_group(code: str) -> EventGroup:
    """Group of a code exactly as the feed gives it; `EventGroup.UNKNOWN` for any other."""
    return EVENT_GROUPS.get(code, EventGroup.UNKNOWN)
