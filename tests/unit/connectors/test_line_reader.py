"""Goal: a line becomes exactly its record, or the first wrong column is named. Method: the layout's
own example, a slow reader written from the description, random lines, and damaged ones."""

import csv
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.see_files.facility_time import FacilityClock
from connectors.see_files.layout import COLUMNS, LINE_COLUMNS
from connectors.see_files.line_reader import LineError, LineReader, Scan, line_error
from schemas import barcode
from schemas.codec import decode, encode
from schemas.reasons import QuarantineReason
from tests.unit.connectors.see_lines import FIELDS, SYNTHETIC, field, with_field

ZONES = {b"90009": "America/Los_Angeles", b"85003": "America/Phoenix"}


@pytest.fixture
def reader() -> LineReader:
    return LineReader(FacilityClock(ZONES))


def record_of(result: Scan | LineError) -> dict[str, Any]:
    assert isinstance(result, Scan), result
    name, record = decode(result.value)
    assert name == "tracking_event"
    assert encode(name, record) == result.value
    return record


def slow_record(line: bytes) -> dict[str, Any]:
    """The record as the schema describes it, read field by field."""
    wall = datetime.strptime(field("event date", line) + field("event time", line), "%Y%m%d%H%M")
    zone = ZONES.get(field("facility ZIP", line).encode())
    if zone is None:
        basis, when = "LOCAL", wall.replace(tzinfo=UTC)
    else:
        basis, when = "UTC", wall.replace(tzinfo=ZoneInfo(zone))
        if when.utcoffset() != when.replace(fold=1).utcoffset():
            basis, when = "AMBIGUOUS", wall.replace(tzinfo=UTC)
    day, time = field("guaranteed date", line), field("time", line)
    recipient = field("recipient name", line)
    return {
        "barcode": field("tracking number", line).replace(" ", ""),
        "event_code": field("event code", line),
        "event_time": int(when.timestamp()) * 1000,
        "time_basis": basis,
        "facility_zip": field("facility ZIP", line),
        "mailing_date": None,
        "channel": "SEE",
        "unique_tracking_id": None,
        "event_name": field("event name", line),
        "facility_name": field("facility name", line),
        "destination_zip": field("destination ZIP", line),
        "destination_zip4": field("+4", line),
        "destination_country": field("destination country", line),
        "mailer_mid": field("mailer MID", line),
        "mailer_name": field("mailer name", line),
        "mail_owner_mid": field("mail-owner MID", line),
        "logistics_manager_mid": field("logistics-manager MID", line),
        "electronic_file_number": field("electronic file number", line),
        "customer_reference": field("customer reference", line),
        "original_label": field("original label", line),
        "weight": field("weight", line),
        "weight_unit": field("unit of measure", line),
        "guaranteed_delivery": day + time if day.strip("0") else "",
        "restricted": {"recipient_name": recipient, "firm": None} if recipient else None,
    }


def test_the_layout_is_the_one_described() -> None:
    assert [(column.start, column.end) for column in COLUMNS] == list(FIELDS.values())
    assert COLUMNS[0].start == 2
    assert COLUMNS[-1].end + 1 == LINE_COLUMNS == len(SYNTHETIC)
    for before, after in pairwise(COLUMNS):
        assert after.start == before.end + 4, f'","  between {before.name} and {after.name}'
    by_csv = next(csv.reader([SYNTHETIC.decode()]))
    assert [text.strip() for text in by_csv] == [field(name, SYNTHETIC) for name in FIELDS]


def test_the_described_line(reader: LineReader) -> None:
    record = record_of(reader.read(SYNTHETIC))
    assert record == slow_record(SYNTHETIC)
    assert record["event_time"] == 1_784_842_320_000  # 2026-07-23 14:32 PDT = 21:32 UTC
    assert reader.read(SYNTHETIC).key == b"9261290336128704042634"  # type: ignore[union-attr]


def test_the_recipients_name_is_in_the_restricted_part_only(reader: LineReader) -> None:
    result = reader.read(with_field("recipient name", b"J GARCIA"))
    assert record_of(result)["restricted"] == {"recipient_name": "J GARCIA", "firm": None}
    assert isinstance(result, Scan)
    assert b"GARCIA" not in result.value[: result.value.rindex(b"\x02\x02")]


def test_the_key_is_the_number_without_routing(reader: LineReader) -> None:
    routed = with_field("tracking number", b"420902459261290336128704042634")
    result = reader.read(routed)
    assert isinstance(result, Scan)
    assert result.key == b"9261290336128704042634"
    assert record_of(result)["barcode"] == "420902459261290336128704042634"


def test_an_unreadable_barcode_still_goes_to_raw(reader: LineReader) -> None:
    for number in (b"9261290336128704042635", b"1Z999AA10123456784"):
        result = reader.read(with_field("tracking number", number))
        assert isinstance(result, Scan)
        assert result.key == number


def texts(width: int) -> st.SearchStrategy[bytes]:
    printable = st.characters(min_codepoint=0x20, max_codepoint=0x2FF, exclude_categories=["Cc"])
    return st.text(printable, max_size=width).map(str.encode).filter(lambda b: len(b) <= width)


def digits(low: int, high: int) -> st.SearchStrategy[bytes]:
    return st.integers(low, high).map(lambda n: str(n).rjust(len(str(high)), "0").encode())


SPECIAL: dict[str, st.SearchStrategy[bytes]] = {
    "version": st.just(b"015"),
    "tracking number": st.from_regex(rb"[0-9A-Z]{1,34}", fullmatch=True),
    "facility ZIP": st.sampled_from([b"90009", b"85003", b"00000", b"12345", b""]),
    "event code": st.from_regex(rb"[!-~]{2}", fullmatch=True),
    "event date": st.dates(
        min_value=datetime(1990, 1, 1).date(), max_value=datetime(2090, 1, 1).date()
    ).map(lambda day: day.strftime("%Y%m%d").encode()),
    "event time": st.times().map(lambda time: time.strftime("%H%M").encode()),
    "guaranteed date": st.sampled_from([b"", b"00000000", b"20260731", b"20240229"]),
    "time": st.sampled_from([b"", b"0000", b"2359", b"1800"]),
}


@st.composite
def lines(draw: st.DrawFn) -> bytes:
    line = SYNTHETIC
    for name, (start, end) in FIELDS.items():
        line = with_field(name, draw(SPECIAL.get(name, texts(end - start + 1))), line)
    return line


@settings(max_examples=60)
@given(lines())
def test_any_line_is_the_record_that_a_slow_reader_sees(line: bytes) -> None:
    result = SHARED.read(line)
    assert record_of(result) == slow_record(line)
    assert isinstance(result, Scan)
    assert result.key == barcode.owner(line[7:41].replace(b" ", b"")).pic
    assert SHARED.read(line) == result, "what was kept says the same"


SHARED = LineReader(FacilityClock(ZONES))


@settings(max_examples=60)
@given(lines(), st.data())
def test_a_damaged_line_is_read_rightly_or_refused(line: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(line) - 1))
    damage = data.draw(st.sampled_from(["cut", "drop", "insert", "change"]))
    byte = data.draw(st.binary(min_size=1, max_size=1))
    damaged = {
        "cut": line[:at],
        "drop": line[:at] + line[at + 1 :],
        "insert": line[:at] + byte + line[at:],
        "change": line[:at] + byte + line[at + 1 :],
    }[damage]
    result = SHARED.read(damaged)
    if isinstance(result, Scan):
        assert len(damaged) == LINE_COLUMNS
        assert record_of(result) == slow_record(damaged)
    else:
        assert 1 <= result.column <= LINE_COLUMNS + 1
        assert result.expected


@given(st.binary(max_size=500))
def test_any_bytes_are_answered(line: bytes) -> None:
    assert isinstance(SHARED.read(line), Scan | LineError)


def test_another_version_is_said_to_be_one(reader: LineReader) -> None:
    error = reader.read(with_field("version", b"016"))
    assert error == LineError(
        2,
        "version",
        '"015" (layout version 1.5)',
        QuarantineReason.LINE_VERSION,
        b"9261290336128704042634",
    )


def test_the_number_is_named_where_it_can_be_made_out() -> None:
    assert line_error(SYNTHETIC[:60]).number == b"9261290336128704042634"
    assert line_error(SYNTHETIC[:10]).number == b""
    assert line_error(with_field("tracking number", b"")).number == b""


def test_what_is_kept_of_a_number_does_not_leak_into_its_next_line(reader: LineReader) -> None:
    """A number can be used again, by another mailer and for another place."""
    names = ("mailer name", "destination ZIP", "mail-owner MID", "weight", "logistics-manager MID")
    record_of(reader.read(SYNTHETIC))
    for name in names:
        line = with_field(name, b"1")
        assert record_of(reader.read(line)) == slow_record(line)
        assert record_of(reader.read(SYNTHETIC)) == slow_record(SYNTHETIC)


def test_memories_are_bounded(reader: LineReader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.see_files.line_reader.KEPT_MAX", 3)
    for number in range(10):
        line = with_field("tracking number", b"926129033612870404%04d" % number)
        line = with_field("event time", b"00%02d" % number, line)
        assert record_of(reader.read(line)) == slow_record(line)
    assert len(reader._pieces) <= 3
    assert len(reader._times) <= 3
