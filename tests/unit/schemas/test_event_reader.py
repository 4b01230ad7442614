"""The walk over an event's bytes says exactly what a full decode says, on any bytes."""

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.codec import MalformedRecordError, UnknownFrameError, decode, encode
from schemas.event_reader import EventFacts, _plain_v1, _quick_v1, read_event
from tests.unit.schemas.records import (
    TRACKING_EVENT,
    avsc,
    bounded,
    encoded,
    garbage,
    mutated,
    prefix,
    records,
    well_formed,
)

TIME_BASES = ["UNKNOWN", "UTC", "LOCAL", "AMBIGUOUS"]
CHANNELS = ["UNKNOWN", "API", "WEBHOOK", "SEE"]
EVENT: dict[str, Any] = {
    "barcode": "9205590123456700000017",
    "event_code": "01",
    "event_time": 1_784_817_120_000,
    "time_basis": "LOCAL",
    "facility_zip": "90009",
    "mailing_date": None,
    "channel": "SEE",
    "facility_name": "LOS ANGELES",
    "restricted": {"recipient_name": "J DOE", "firm": None},
}
ORDINARY = encode("tracking_event", EVENT)


def facts_of(value: bytes) -> EventFacts | None:
    try:
        return read_event(value)
    except MalformedRecordError:
        return None


def expected(value: bytes) -> EventFacts | None:
    """Facts from fastavro's full decode; `restricted` starts where the cut record ends."""
    record = well_formed(value)
    if record is None:
        return None
    cut = encoded(TRACKING_EVENT, record | {"restricted": None})
    return EventFacts(
        record["barcode"].encode(),
        record["event_code"].encode(),
        record["event_time"],
        TIME_BASES.index(record["time_basis"]),
        record["facility_zip"].encode(),
        CHANNELS.index(record["channel"]),
        len(cut) - 1,
    )


def test_indices_are_those_of_the_schema() -> None:
    fields = {field["name"]: field["type"] for field in avsc(TRACKING_EVENT)["fields"]}
    assert fields["time_basis"]["symbols"] == TIME_BASES
    assert fields["channel"]["symbols"] == CHANNELS


@bounded(100)
@given(records(TRACKING_EVENT))
def test_facts_of_any_record(record: dict[str, Any]) -> None:
    value = encoded(TRACKING_EVENT, record)
    facts = read_event(value)
    assert facts == expected(value)
    cut = value[: facts.restricted_at] + b"\0"
    assert decode(cut) == ("tracking_event", record | {"restricted": None})
    assert read_event(cut) == facts


@bounded(200)
@given(mutated(TRACKING_EVENT) | garbage(TRACKING_EVENT))
@example(prefix(TRACKING_EVENT))
@example(ORDINARY + b"\0")
def test_broken_bytes_are_accepted_only_where_a_decode_is(value: bytes) -> None:
    assert facts_of(value) == expected(value)


@bounded(100)
@given(mutated(TRACKING_EVENT) | garbage(TRACKING_EVENT))
def test_the_quick_walk_gives_up_or_agrees(value: bytes) -> None:
    """The quick walk alone never accepts what the plain one refuses."""
    quick = _quick_v1(value)
    if quick is not None:
        assert quick == _plain_v1(value)


@bounded(100)
@given(st.integers(0, len(ORDINARY) - 1), st.integers(0, 7))
def test_one_flipped_bit(at: int, bit: int) -> None:
    value = bytearray(ORDINARY)
    value[at] ^= 1 << bit
    if at >= 5:
        assert facts_of(bytes(value)) == expected(bytes(value))


def test_every_cut_of_an_ordinary_record_is_malformed() -> None:
    for end in range(len(ORDINARY)):
        with pytest.raises(MalformedRecordError):
            read_event(ORDINARY[:end])


def test_an_ordinary_record_takes_the_quick_walk() -> None:
    """Else speed is lost without anybody noticing."""
    api = EVENT | {"channel": "API", "mailing_date": 20_000, "unique_tracking_id": "ab12"}
    for record in (EVENT, EVENT | {"restricted": None}, api):
        assert _quick_v1(encode("tracking_event", record)) is not None


@pytest.mark.parametrize(
    "change",
    [
        {"facility_name": "SAN JOSÉ"},
        {"mailer_name": "X" * 64},
        {"barcode": "9" * 200},
        {"restricted": {"recipient_name": "ÅSA", "firm": "Ö"}},
        {"event_time": 0},
        {"event_time": -1},
        {"event_time": 253_402_300_799_999},
        {"event_time": -62_135_596_800_000},
        {"mailing_date": -719_162},
        {"mailing_date": 2_932_896},
    ],
)
def test_unusual_records_are_read_all_the_same(change: dict[str, Any]) -> None:
    value = encode("tracking_event", EVENT | change)
    assert read_event(value) == expected(value)


@pytest.mark.parametrize(
    "change",
    [
        {"event_time": 253_402_300_800_000},
        {"event_time": -62_135_596_800_001},
        {"mailing_date": -719_163},
        {"mailing_date": 2_932_897},
    ],
)
def test_instants_beyond_a_datetime_are_malformed(change: dict[str, Any]) -> None:
    """fastavro writes and reads them; the reader of a tenant that converts them would crash."""
    filled = decode(ORDINARY)[1]
    with pytest.raises(MalformedRecordError):
        read_event(encoded(TRACKING_EVENT, filled | change))


def test_text_that_is_not_utf8_is_malformed() -> None:
    bad = ORDINARY.replace(b"LOS ANGELES", b"LOS ANGELE\xff")
    with pytest.raises(MalformedRecordError):
        read_event(bad)


@pytest.mark.parametrize("frame", [0, 2, 20, 99])
def test_any_other_frame_is_unknown(frame: int) -> None:
    """Also one that is known, but no event's: nothing of it may be passed on or cut."""
    with pytest.raises(UnknownFrameError, match=str(frame)):
        read_event(prefix(frame) + ORDINARY[5:])


@pytest.mark.parametrize("value", [b"", b"\0\0\0\0", b"\x01\0\0\0\x01" + ORDINARY[5:]])
def test_without_a_frame_a_value_is_malformed(value: bytes) -> None:
    with pytest.raises(MalformedRecordError, match="frame"):
        read_event(value)
