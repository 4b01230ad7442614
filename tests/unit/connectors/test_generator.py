"""Goal: generated files are what they say. Method: read them with the line reader and the barcode
reader."""

import random
from collections import Counter
from datetime import date

import pytest

from connectors.see_files.facility_time import FacilityClock, zone_table
from connectors.see_files.generator import Plan, generate
from connectors.see_files.line_reader import LineError, LineReader
from connectors.see_files.reader_setup import zip_rows
from connectors.see_files.scan_histories import FACILITIES, HISTORIES
from connectors.see_files.tracking_numbers import draw_mid, draw_number
from schemas import barcode
from schemas.mid import is_mid

START = date(2026, 10, 30)


def lines_of(plan: Plan, seed: int = 5) -> list[bytes]:
    return [line for portion in generate(plan, random.Random(seed)) for line in portion]


@pytest.fixture(scope="module")
def lines() -> list[bytes]:
    return lines_of(Plan(START, 8, (b"901234567",), pieces=3000))


def test_the_same_seed_gives_the_same_bytes() -> None:
    plan = Plan(START, 5, pieces=50)
    assert lines_of(plan) == lines_of(plan)
    assert lines_of(plan) != lines_of(plan, seed=6)


@pytest.mark.parametrize("count", [1, 7, 1000, 4321])
def test_so_many_lines_exactly(count: int) -> None:
    assert len(lines_of(Plan(START, 5, lines=count))) == count


def test_all_forms_and_some_broken_lines(lines: list[bytes]) -> None:
    reader = LineReader(FacilityClock(zone_table(zip_rows())))
    fields: Counter[str] = Counter()
    numbers = set()
    for line in lines:
        result = reader.read(line)
        if isinstance(result, LineError):
            fields[result.field] += 1
        else:
            numbers.add(line[7:41].strip())
    assert 0 < fields.total() < len(lines) / 100
    assert len(fields) >= 5
    owners = [barcode.owner(number) for number in numbers]
    assert {owner.pic[:2] for owner in owners} >= {b"91", b"92", b"93", b"94", b"95", b"03", b"RB"}
    verdicts = Counter(owner.verdict.value for owner in owners)
    assert verdicts["owned"] > len(owners) / 2
    assert verdicts["invalid"] > 0
    assert b"901234567" in {owner.mid for owner in owners}
    assert {len(number) for number in numbers} >= {13, 20, 22, 26, 30, 34}


def test_histories_are_whole(lines: list[bytes]) -> None:
    """Events of pieces that no one else shares a number with, in the order of their times."""
    told = {tuple(step.code for step in steps) for _, steps in HISTORIES}
    by_number: dict[bytes, list[bytes]] = {}
    for line in dict.fromkeys(lines):  # exact repeats once
        by_number.setdefault(line[7:41], []).append(line)
    whole = 0
    for events in by_number.values():
        times = [line[221:229] + line[232:236] for line in events]
        order = sorted(range(len(events)), key=lambda index: times[index])
        whole += tuple(events[index][173:175] for index in order) in told
    assert whole > 0.75 * len(by_number)  # the rest: late within a minute, odd hours, reuse


def test_repeats_and_late_scans(lines: list[bytes]) -> None:
    repeated = len(lines) - len(set(lines))
    assert 0.005 < repeated / len(lines) < 0.03
    days = [line[221:229] for line in lines if len(line) == 393]
    late = sum(1 for index in range(1, len(days)) if days[index] < days[index - 1])
    assert late > 100


def test_every_number_is_valid_but_the_misread() -> None:
    dice = random.Random(1)
    for _ in range(3000):
        mid = draw_mid(dice)
        assert is_mid(mid.decode())
        number = draw_number(dice, mid, b"90210", b"1234")
        assert len(number.text) <= 34
        found = barcode.owner(number.text)
        if found.verdict.value == "owned":
            assert found.mid == mid


def test_most_facilities_have_a_zone() -> None:
    known = zone_table(zip_rows())
    unknown = [place.name for place in FACILITIES if place.zip5 not in known]
    assert unknown == [b"APO", b"NETWORK DISTRIBUTION CENTER", b"INTERNATIONAL SERVICE CENTER"]
