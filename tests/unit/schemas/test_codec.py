"""The codec: one byte form a record, the same records as fastavro, nothing guessed."""

import io
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.codec import (
    FRAMES,
    MalformedRecordError,
    UnknownFrameError,
    decode,
    encode,
    frame_id,
    schema_text,
)
from schemas.strict_avro import compile_reader, read_number
from tests.unit.schemas.records import (
    TRACKING_EVENT,
    bounded,
    encoded,
    garbage,
    mutated,
    parsed,
    prefix,
    records,
    well_formed,
)

ALL_FRAMES = sorted(FRAMES)
EVENT: dict[str, Any] = {
    "barcode": "9205590123456700000017",
    "event_code": "01",
    "event_time": 1_784_817_120_000,
    "time_basis": "LOCAL",
    "facility_zip": "90009",
    "mailing_date": 20_000,
    "channel": "SEE",
}


def judged(value: bytes) -> dict[str, Any] | None:
    """What our decoder says: the record, or None."""
    try:
        return decode(value)[1]
    except MalformedRecordError:
        return None


@pytest.mark.parametrize("frame", ALL_FRAMES)
@bounded(25)
@given(data=st.data())
def test_any_record_of_any_schema_comes_back(frame: int, data: st.DataObject) -> None:
    """Encode, decode, and compare with what fastavro writes and reads."""
    record = data.draw(records(frame))
    name, _, version = FRAMES[frame].partition("/v")
    value = encode(name, record, int(version))
    assert value == encoded(frame, record)
    assert decode(value) == (name, record)


@pytest.mark.parametrize("frame", ALL_FRAMES)
@bounded(60)
@given(data=st.data())
def test_broken_bytes_are_judged_as_fastavro_judges_them(frame: int, data: st.DataObject) -> None:
    """Accepted exactly when fastavro decodes all, writes the same again, and the numbers fit."""
    value = data.draw(mutated(frame) | garbage(frame))
    assert judged(value) == well_formed(value)


def test_logical_types_stay_numbers() -> None:
    record = decode(encode("tracking_event", EVENT))[1]
    assert record["event_time"] == 1_784_817_120_000
    assert record["mailing_date"] == 20_000
    assert record["restricted"] is None


@pytest.mark.parametrize(
    ("field", "wrong", "lenient"),
    [
        ("channel", b"\x01", "SEE"),
        ("channel", b"\x86\x00", "SEE"),
        ("channel", b"\x08", None),
    ],
)
def test_lenient_forms_are_malformed(field: str, wrong: bytes, lenient: str | None) -> None:
    """What fastavro takes for a symbol (an index of -1, padding) is refused; so is index 4."""
    good = encode("tracking_event", EVENT)
    at = good.index(b"90009") + len("90009") + 4
    assert good[at : at + 1] == b"\x06"
    bad = good[:at] + wrong + good[at + 1 :]
    if lenient is not None:
        source = io.BytesIO(bad[5:])
        record: Any = fastavro.schemaless_reader(source, parsed(TRACKING_EVENT), None)
        assert record[field] == lenient
    with pytest.raises(MalformedRecordError, match="tracking_event"):
        decode(bad)


def test_no_boolean_but_zero_and_one() -> None:
    good = encode("terms", {"tenant_id": "acme", "terms_version": "1", "accepted": True})
    assert good[-1:] == b"\x01"
    with pytest.raises(MalformedRecordError):
        decode(good[:-1] + b"\x02")


def test_an_array_in_blocks_is_malformed() -> None:
    good = encode("crid", {"crid": "1", "mids": ["123456", "234567"]})
    first, second = b"\x0c123456", b"\x0c234567"
    assert good.endswith(b"\x04" + first + second + b"\x00")
    blocks = good[:-16] + b"\x02" + first + b"\x02" + second + b"\x00"
    assert fastavro.schemaless_reader(io.BytesIO(blocks[5:]), parsed(26), None) == {
        "crid": "1",
        "mids": ["123456", "234567"],
    }
    with pytest.raises(MalformedRecordError):
        decode(blocks)


@pytest.mark.parametrize("value", [b"", b"\0", b"\0\0\0\0", b"\x01\0\0\0\x01", b"{}   "])
def test_without_a_frame_a_value_is_malformed(value: bytes) -> None:
    with pytest.raises(MalformedRecordError, match="frame"):
        decode(value)


@pytest.mark.parametrize("frame", [0, 19, 99, 2**31, 2**32 - 1])
def test_an_unknown_frame_is_named(frame: int) -> None:
    with pytest.raises(UnknownFrameError, match=str(frame)) as caught:
        decode(prefix(frame) + b"anything")
    assert caught.value.frame == frame
    with pytest.raises(UnknownFrameError):
        schema_text(frame)


@pytest.mark.parametrize(
    "change",
    [
        {"event_time": 253_402_300_800_000},
        {"event_time": -62_135_596_800_001},
        {"mailing_date": 2_932_897},
        {"mailing_date": 2**40},
        {"channel": "FAX"},
        {"barcode": None},
        {"barcode": 92},
        {"colour": "red"},
    ],
)
def test_what_could_not_be_read_back_is_not_written(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="tracking_event"):
        encode("tracking_event", EVENT | change)


def test_a_missing_field_without_default_is_an_error() -> None:
    with pytest.raises(ValueError, match="barcode"):
        encode("tracking_event", {"event_code": "01"})


def test_names_and_ids_belong_together() -> None:
    for frame, name in FRAMES.items():
        record, _, version = name.partition("/v")
        assert frame_id(record, int(version)) == frame
        assert '"fields"' in schema_text(frame)
    with pytest.raises(ValueError, match="no schema tracking_event version 9"):
        frame_id("tracking_event", 9)
    with pytest.raises(ValueError, match="no schema"):
        encode("parcel", {})


@pytest.mark.parametrize(
    ("number", "written"), [(0, b"\0"), (-1, b"\1"), (2**63 - 1, b"\xfe" + b"\xff" * 8 + b"\1")]
)
def test_numbers_have_one_form(number: int, written: bytes) -> None:
    assert read_number(written, 0) == (number, len(written))
    padded = written[:-1] + bytes((written[-1] | 0x80, 0))
    with pytest.raises(ValueError, match="number"):
        read_number(padded, 0)


def test_numbers_of_more_than_64_bits_are_refused() -> None:
    with pytest.raises(ValueError, match="64 bits"):
        read_number(b"\xff" * 9 + b"\x02", 0)
    with pytest.raises(ValueError, match="64 bits"):
        read_number(b"\xff" * 20, 0)


def test_a_type_the_reader_does_not_know_is_refused_when_compiled() -> None:
    with pytest.raises(ValueError, match="double"):
        compile_reader("double", {})
