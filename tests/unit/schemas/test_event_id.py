"""The event id: by definition, and equal for what is most likely the same scan."""

from hashlib import blake2b

import pytest

from schemas.event_id import event_id
from schemas.event_reader import EventFacts

PIC = b"9205590123456700000017"
FACTS = EventFacts(PIC, b"01", 1_784_817_120_000, 2, b"90009", 3, 62)


def test_definition() -> None:
    """As docs/authorization-log.md says it; written out once more."""
    text = b"9205590123456700000017\x1f01\x1f29746952\x1f90009"
    assert event_id(PIC, FACTS) == blake2b(text, digest_size=12).digest()


@pytest.mark.parametrize(
    "same",
    [
        FACTS._replace(event_time_ms=FACTS.event_time_ms + 59_999),
        FACTS._replace(channel=1, time_basis=1, restricted_at=70),
        FACTS._replace(barcode=b"42090245" + PIC),
    ],
)
def test_same_scan(same: EventFacts) -> None:
    assert event_id(PIC, same) == event_id(PIC, FACTS)


@pytest.mark.parametrize(
    "other",
    [
        FACTS._replace(event_time_ms=FACTS.event_time_ms + 60_000),
        FACTS._replace(event_time_ms=FACTS.event_time_ms - 1),
        FACTS._replace(event_code=b"02"),
        FACTS._replace(facility_zip=b""),
    ],
)
def test_another_scan(other: EventFacts) -> None:
    assert event_id(PIC, other) != event_id(PIC, FACTS)


def test_minutes_before_1970_round_down() -> None:
    assert event_id(PIC, FACTS._replace(event_time_ms=-1)) == event_id(
        PIC, FACTS._replace(event_time_ms=-60_000)
    )
    assert event_id(PIC, FACTS._replace(event_time_ms=-1)) != event_id(
        PIC, FACTS._replace(event_time_ms=0)
    )
