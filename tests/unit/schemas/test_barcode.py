"""Barcodes: every vector, every form, and a slow reader written from the rule as the judge."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.barcode import Owner, check_digit, normalise, owner, read, s10_check_digit
from schemas.mid import is_mid
from schemas.reasons import BarcodeVerdict
from tests.unit.schemas.records import bounded

VECTORS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[2] / "vectors" / "barcodes.json").read_text()
)


def luhn_like(body: str) -> int:
    """The check digit as the rule states it: weights 3, 1, 3, 1, … from the right."""
    total = sum(int(digit) * (1 if place % 2 else 3) for place, digit in enumerate(reversed(body)))
    return (10 - total % 10) % 10


def slow_owner(number: str) -> tuple[str, str, str]:
    """Verdict, MID and reason, written plainly from the rule; for numbers of digits alone."""
    pics = [number]
    if number.startswith("420"):
        pics += [number[8:], number[12:]]
    forms = [
        pic
        for pic in pics
        if len(pic) == 20
        or (len(pic) in (22, 26, 30) and pic[:2] in ("91", "92", "93", "94", "95"))
    ]
    if not forms:
        return "invalid", "", "unknown_form"
    readings = [pic for pic in forms if luhn_like(pic[:-1]) == int(pic[-1])]
    if not readings:
        return "invalid", "", "check_digit"
    owners = set()
    for pic in readings:
        ai = "" if len(pic) == 20 else pic[:2]
        if ai == "92":
            owners.add(pic[5:14] if pic[5] == "9" else "broken")
        elif ai == "93":
            owners.add(pic[5:11] if pic[5] != "9" else "broken")
        else:
            owners.add("none")
    valid = owners - {"broken"}
    if not valid:
        return "undecidable", "", "mid_rule"
    if len(valid) > 1:
        return "undecidable", "", "two_owners"
    if valid == {"none"}:
        return "no_owner", "", "label_needed"
    return "owned", valid.pop(), ""


@st.composite
def numbers(draw: st.DrawFn) -> str:
    """Numbers of every form, most with a right check digit."""
    length = draw(st.sampled_from([20, 22, 22, 26, 26, 30, 21, 24]))
    routing = draw(st.sampled_from(["", "420", "420dddd"]))
    if routing:
        routing = "420" + draw(st.text("0123456789", min_size=5, max_size=5))
        if draw(st.booleans()):
            routing += draw(st.sampled_from(["9", ""])) + draw(st.text("0123456789", min_size=3))
            routing = routing[:12].ljust(12, "2")
    ai = draw(st.sampled_from(["92", "93", "92", "93", "94", "95", "91", "96", "12"]))
    body = ai + draw(st.text("0123456789", min_size=length, max_size=length))
    body = body[: length - 1]
    last = luhn_like(body) if draw(st.integers(0, 4)) else draw(st.integers(0, 9))
    return routing + body + str(last)


@st.composite
def twice_readable(draw: st.DrawFn) -> str:
    """34 digits that can be cut after ZIP5 and after ZIP+4, both with a right check digit."""
    head = draw(st.sampled_from(["92", "93", "94", "91"])) + draw(
        st.text("0123456789", min_size=2, max_size=2)
    )
    inner = draw(st.sampled_from(["92", "93", "94", "95"])) + draw(
        st.text("0123456789", min_size=19, max_size=19)
    )
    tail = inner + str(luhn_like(inner))
    # The four digits before must weigh nothing: move the last of them until they do.
    for digit in "0123456789":
        front = head[:3] + digit
        if (3 * (int(front[0]) + int(front[2])) + int(front[1]) + int(front[3])) % 10 == 0:
            return "42090245" + front + tail
    raise AssertionError("a digit of weight 1 reaches every remainder")


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["input"])
def test_vectors(vector: dict[str, Any]) -> None:
    report = read(vector["input"])
    assert report.input == vector["input"]
    assert report.verdict == vector["verdict"]
    assert report.mid == (vector["mid"] or "")
    assert report.reason == (vector["reason"] or "")
    assert [
        {
            "routing": one.routing or None,
            "ai": one.ai or None,
            "stc": one.stc or None,
            "mid": one.mid or None,
            "serial": one.serial or None,
            "check_digit": one.check_digit or None,
        }
        for one in report.readings
    ] == vector["readings"]
    assert report.form


@bounded(300)
@given(numbers() | twice_readable() | st.text("0123456789", max_size=45))
@example("42012345678901234567")
def test_the_owner_is_that_of_the_slow_reader(number: str) -> None:
    found = owner(number.encode())
    assert (found.verdict, found.mid.decode(), found.reason) == slow_owner(number)
    assert number.endswith(found.pic.decode())


@bounded(100)
@given(numbers() | twice_readable() | st.text(max_size=15))
def test_read_and_owner_agree(number: str) -> None:
    report = read(number)
    found = owner(normalise(number).encode("ascii", "replace"))
    assert (report.verdict, report.mid, report.reason) == (
        found.verdict,
        found.mid.decode(),
        found.reason,
    )
    assert bool(report.readings) == (report.verdict != "invalid")
    for one in report.readings:
        assert report.reason == "mid_rule" or one.ai not in ("92", "93") or is_mid(one.mid)
    if report.verdict == "owned":
        assert is_mid(report.mid)
        assert {one.mid for one in report.readings} == {report.mid}
        assert found.pic.decode() == report.readings[0].pic


@bounded(100)
@given(numbers())
def test_the_parts_of_a_reading_make_up_the_number(number: str) -> None:
    for one in read(number).readings:
        routing = f"420{one.routing.replace('-', '')}" if one.routing else ""
        assert routing + one.pic == number
        if one.serial:
            parts = one.ai + one.stc + one.legacy_id + one.mid + one.serial + one.check_digit
            assert parts == one.pic


@bounded(100)
@given(twice_readable())
def test_two_readings_are_both_reported(number: str) -> None:
    report = read(number)
    if report.reason == "two_owners":
        assert [one.routing for one in report.readings] == ["90245", f"90245-{number[8:12]}"]
        assert owner(number.encode()).pic == number.encode()
    # A nine-digit MID read after ZIP5 would start where the other reading has its identifier's
    # second digit (1 to 5), so it breaks the MID rule and cannot compete.
    if number[8:10] == "92" and number[12:14] in ("92", "93"):
        assert report.reason != "two_owners"


def test_a_reading_that_breaks_the_mid_rule_does_not_compete() -> None:
    """ZIP+4 and 22 digits of AI 92; after ZIP5 it would be AI 92 with a MID starting with 2."""
    number = "42090245" + "9201" + "9205590123456700000017"
    assert luhn_like(number[8:-1]) == int(number[-1])
    assert owner(number.encode()) == Owner(
        BarcodeVerdict.OWNED, b"901234567", b"9205590123456700000017", ""
    )


@pytest.mark.parametrize(
    ("length", "serial"), [(22, 7), (26, 11), (30, 15)], ids=["22", "26", "30 digits"]
)
def test_serial_lengths_of_92(length: int, serial: int) -> None:
    body = "92055" + "901234567" + "0" * serial
    number = body + str(luhn_like(body))
    assert len(number) == length
    reading = read(number).readings[0]
    assert (reading.mid, len(reading.serial)) == ("901234567", serial)


@pytest.mark.parametrize(("length", "serial"), [(22, 10), (26, 14), (30, 18)])
def test_serial_lengths_of_93(length: int, serial: int) -> None:
    body = "93612" + "123456" + "7" * serial
    number = body + str(luhn_like(body))
    assert len(number) == length
    reading = read(number).readings[0]
    assert (reading.mid, len(reading.serial)) == ("123456", serial)


def test_thirty_digits_are_routing_and_22_or_a_pic_of_30() -> None:
    routed = read("420902459261290336128704042634")
    assert routed.readings[0].routing == "90245"
    body = "92748" + "901234567" + "0" * 15
    whole = read(body + str(luhn_like(body)))
    assert whole.verdict == "owned"
    assert whole.readings[0].routing == ""


def test_93_with_a_mid_of_nine_digits_breaks_the_mid_rule() -> None:
    body = "93612" + "912345" + "0" * 10
    found = owner((body + str(luhn_like(body))).encode())
    assert (found.verdict, found.reason) == ("undecidable", "mid_rule")


@pytest.mark.parametrize(
    "pasted",
    [
        "9205 5901 2345 6700 0000 17",
        " 9205-5901-2345-6700-0000-17\n",
        "(92)055 901234567 0000001 7",
        "]C1\x1d9205590123456700000017",
        "9205\xa05901\xa02345\xa06700\xa00000\xa017",
    ],
)
def test_what_people_paste_is_read(pasted: str) -> None:
    assert read(pasted).mid == "901234567"


def test_gs1_brackets_and_routing() -> None:
    report = read("(420)90245\x1d(92)612903361287 0404263 4")
    assert (report.mid, report.readings[0].routing) == ("903361287", "90245")


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        ("1Z999AA10123456784", "UPS"),
        ("961207700000000000001", "digits"),
        ("9612077000000000000013", "FedEx"),
        ("123456789012", "FedEx Express"),
        ("123456789012345", "FedEx Ground"),
        ("1234567890", "DHL"),
        ("TBA123456789012", "Amazon"),
        ("GM2951173225174494", "DHL"),
        ("61299998820821171811", "FedEx"),
        ("RB123456786US", "check digit"),
        ("94001", "another length"),
        ("42090245", "routing"),
        ("", "nothing"),
        ("héllo", "no form"),
        ("９２０５５９０１２３４５６７０００００１７", "no form"),
    ],
)
def test_foreign_and_unknown_forms_are_named(number: str, hint: str) -> None:
    report = read(number)
    assert report.verdict == "invalid"
    assert hint in report.form
    assert not report.readings


@pytest.mark.parametrize(
    "number",
    [b"", b" ", b"9205 590123456700000017", b"rb123456785gb", b"RB12345678\xb25GB", b"4"],
)
def test_the_hot_path_takes_only_bare_numbers(number: bytes) -> None:
    assert owner(number) == Owner(BarcodeVerdict.INVALID, b"", number, "unknown_form")


@bounded(100)
@given(st.text("0123456789", min_size=1, max_size=40))
def test_check_digits(body: str) -> None:
    assert check_digit(body.encode()) == luhn_like(body)


@pytest.mark.parametrize(
    ("serial", "check"),
    [(b"12345678", 5), (b"47312482", 9), (b"00000000", 5), (b"00000001", 4), (b"00000005", 9)],
)
def test_s10_check_digits(serial: bytes, check: int) -> None:
    weights = (8, 6, 4, 2, 3, 5, 9, 7)
    rest = sum(w * int(chr(d)) for w, d in zip(weights, serial, strict=True)) % 11
    assert s10_check_digit(serial) == check == {0: 5, 1: 0}.get(rest, 11 - rest)
