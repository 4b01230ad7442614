"""Goal: a wall clock becomes UTC only where that is certain. Method: every minute of days on which
clocks jump against zoneinfo asked backwards, and the whole table of ZIPs."""

import json
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.see_files.facility_time import (
    AMBIGUOUS,
    LOCAL,
    UNKNOWN,
    FacilityClock,
    zone_table,
)
from connectors.see_files.facility_time import (
    UTC as BASIS_UTC,
)
from connectors.see_files.reader_setup import zip_rows

EPOCH = datetime(1970, 1, 1)


@cache
def table() -> dict[bytes, str]:
    return zone_table(zip_rows())


def clock_for(zone: str) -> FacilityClock:
    return FacilityClock({b"00001": zone})


def by_search(zone: str, wall: datetime) -> tuple[int, int]:
    """All instants whose wall clock is `wall`, by trying every offset of the days around it."""
    info = ZoneInfo(zone)
    naive_ms = int((wall - EPOCH) / timedelta(milliseconds=1))
    found = []
    for offset in offsets_around(zone, wall.toordinal()):
        instant = (wall - offset).replace(tzinfo=UTC)
        if instant.astimezone(info).replace(tzinfo=None) == wall:
            found.append(instant)
    if len(found) != 1:
        return naive_ms, AMBIGUOUS
    return int(found[0].timestamp() * 1000), BASIS_UTC


@cache
def offsets_around(zone: str, day: int) -> set[timedelta]:
    start = datetime.fromordinal(day).replace(tzinfo=UTC)
    instants = (start + timedelta(minutes=15 * quarter) for quarter in range(-192, 288))
    offsets = {instant.astimezone(ZoneInfo(zone)).utcoffset() for instant in instants}
    return {offset for offset in offsets if offset is not None}


@pytest.mark.parametrize(
    ("zone", "day"),
    [
        ("America/New_York", "20260308"),  # gap 02:00
        ("America/New_York", "20261101"),  # fold 01:00
        ("America/New_York", "20261102"),
        ("America/Adak", "20261101"),
        ("America/Phoenix", "20260308"),  # no summer time
        ("Pacific/Guam", "20260701"),
        ("America/Puerto_Rico", "20261101"),
        ("Pacific/Apia", "20111230"),  # a day that did not exist there: all of it is a gap
        ("Australia/Lord_Howe", "20260405"),  # half an hour
        ("America/Havana", "20261101"),  # at midnight
    ],
)
def test_every_minute_of_a_day(zone: str, day: str) -> None:
    clock = clock_for(zone)
    wall = datetime.strptime(day, "%Y%m%d")
    for _ in range(24 * 60):
        got = clock.event_time(b"00001", day.encode(), wall.strftime("%H%M").encode())
        assert tuple(got) == by_search(zone, wall), wall
        wall += timedelta(minutes=1)


@given(
    st.sampled_from(sorted(set(table().values()))),
    st.datetimes(datetime(1970, 1, 2), datetime(2090, 1, 1)),
)
def test_any_minute_of_any_zone_of_the_table(zone: str, wall: datetime) -> None:
    wall = wall.replace(second=0, microsecond=0)
    got = clock_for(zone).event_time(
        b"00001", wall.strftime("%Y%m%d").encode(), wall.strftime("%H%M").encode()
    )
    assert tuple(got) == by_search(zone, wall)


@pytest.mark.parametrize(
    "zip5",
    [
        b"",  # blank
        b"00000",
        b"00099",  # in no list
        b"09012",  # military, no zone in the list
        b"09905",  # military, New York in the list
        b"34002",
        b"96201",
        b"56908",  # parcel return service, Washington in the list
        b"88888",
    ],
)
def test_a_place_without_a_certain_zone_keeps_its_wall_clock(zip5: bytes) -> None:
    got = FacilityClock(table()).event_time(zip5, b"20260723", b"1432")
    wall_ms = int((datetime(2026, 7, 23, 14, 32) - EPOCH) / timedelta(milliseconds=1))
    assert tuple(got) == (wall_ms, LOCAL)


@pytest.mark.parametrize(
    ("zip5", "utc"),
    [
        (b"90009", "2026-07-23T21:32"),
        (b"10001", "2026-07-23T18:32"),
        (b"85003", "2026-07-23T21:32"),
        (b"86515", "2026-07-23T20:32"),  # Navajo Nation keeps summer time
        (b"99634", "2026-07-23T22:32"),  # the table's own zone is "Napakiak"
        (b"96941", "2026-07-23T03:32"),  # Pohnpei +11; the table has Chuuk's +10
        (b"96944", "2026-07-23T03:32"),
        (b"96942", "2026-07-23T04:32"),
        (b"56901", None),
    ],
)
def test_places_by_hand(zip5: bytes, utc: str | None) -> None:
    got = FacilityClock(table()).event_time(zip5, b"20260723", b"1432")
    if utc is None:
        assert got.basis == LOCAL
        return
    assert got.basis == BASIS_UTC
    assert datetime.fromtimestamp(got.ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M") == utc


def test_every_zone_of_the_table_is_one() -> None:
    assert set(table().values()) <= available_timezones()
    assert len(table()) > 41_000


def test_corrections_are_still_needed() -> None:
    """A newer table that is right makes its correction dead."""
    rows = {row["zip_code"]: row["timezone"] for row in zip_rows()}
    assert rows["99634"] == "Napakiak"
    assert rows["96941"] == rows["96944"] == "Pacific/Chuuk"
    assert rows["09905"] == "America/New_York"


def test_days_that_are_none() -> None:
    for day in (b"20260229", b"20261301", b"20260100", b"00000101"):
        with pytest.raises(ValueError, match=r"."):
            FacilityClock(table()).event_time(b"90009", day, b"0000")


def test_the_ends_of_time() -> None:
    clock = FacilityClock(table())
    assert clock.event_time(b"90009", b"99991231", b"2359").basis == LOCAL
    assert clock.event_time(b"90009", b"00010101", b"0000").ms == -62_135_596_800_000


def test_bases_are_the_schemas() -> None:
    text = (files("schemas") / "avro/tracking_event/v1.avsc").read_text()
    fields: list[dict[str, Any]] = json.loads(text)["fields"]
    symbols = next(f["type"]["symbols"] for f in fields if f["name"] == "time_basis")
    assert [symbols[n] for n in (UNKNOWN, BASIS_UTC, LOCAL, AMBIGUOUS)] == symbols
