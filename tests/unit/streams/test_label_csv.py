"""The label file: good rows become labels, bad ones are named by line and column."""

import pytest

from streams.grant_csv import RowError
from streams.label_csv import HEADER, LabelRow, read_labels

HEAD = ",".join(HEADER)
ONLINE, OWNED = "9400111206206406260787", "9205590123456700000017"
GOOD = f"{ONLINE},,901234567,acme,t1,2026-07-20T10:00:00Z,2026-07-20,2026-08-20,2026-07-21,u1"


def read(*rows: str) -> list[LabelRow | RowError]:
    return list(read_labels([HEAD, *rows]))


def test_a_good_row_becomes_a_label():
    (row,) = read(GOOD)
    assert isinstance(row, LabelRow)
    assert (row.line, row.pic) == (2, ONLINE)
    label = row.label
    assert (label.mid, label.generated_by, label.merchant_token_id) == ("901234567", "acme", "t1")
    assert label.valid_to_ms - label.valid_from_ms == 31 * 86_400_000
    assert label.generated_at_ms - label.valid_from_ms == 10 * 3_600_000
    assert label.mailing_date * 86_400_000 == label.valid_from_ms + 86_400_000
    assert label.unique_tracking_id == "u1"


def test_what_may_be_empty():
    (row,) = read(f"{ONLINE},,901234567,acme,,,2026-07-20,2026-08-20,,")
    label = row.label
    assert label.generated_at_ms == label.valid_from_ms
    assert (label.merchant_token_id, label.mailing_date, label.unique_tracking_id) == ("", None, "")


def test_a_row_without_an_id_always_gets_the_same_one():
    first, again, other = read(GOOD, GOOD, GOOD.replace("t1", "t2"))
    assert first.label == again.label
    assert first.label.label_id != other.label.label_id


def test_the_number_is_read_as_people_write_it_without_its_routing():
    spaced = GOOD.replace(ONLINE, "9400 1112 0620 6406 2607 87")
    routed = GOOD.replace(ONLINE, "42078745" + ONLINE)
    assert [row.pic for row in read(spaced, routed)] == [ONLINE, ONLINE]


@pytest.mark.parametrize(
    ("row", "column"),
    [
        (GOOD.replace(ONLINE, ONLINE[:-1] + "8"), "pic"),
        (GOOD.replace(ONLINE, ""), "pic"),
        (GOOD.replace(",,901", ",no id!,901", 1), "label_id"),
        (GOOD.replace("901234567", "123456789"), "mid"),
        (GOOD.replace("acme", "Acme"), "generated_by"),
        (GOOD.replace("t1", "t" * 101), "merchant_token"),
        (GOOD.replace("t1", "t\x1f1"), "merchant_token"),
        (GOOD.replace("10:00:00Z", "10:00:00"), "generated_at"),
        (GOOD.replace(",2026-07-20,", ",,"), "valid_from"),
        (GOOD.replace("2026-08-20", ""), "valid_to"),
        (GOOD.replace("2026-08-20", "2026-07-20"), "valid_to"),
        (GOOD.replace("2026-07-21", "21.7.2026"), "mailing_date"),
        (GOOD.replace("u1", "u" * 101), "unique_tracking_id"),
        (GOOD + ",more", ""),
        # The digits name an owner: a label may not name another.
        (GOOD.replace(ONLINE, OWNED).replace(",901234567", ",901234568"), "mid"),
    ],
)
def test_each_mistake_is_named_by_line_and_column(row, column):
    good, error = read(GOOD, row)
    assert isinstance(good, LabelRow)
    assert (error.line, error.column) == (3, column)


def test_every_mistake_of_a_row_is_named():
    errors = read("x,,1,A,,,,,,")
    assert [one.column for one in errors] == [
        "pic",
        "mid",
        "generated_by",
        "valid_from",
        "valid_to",
    ]


@pytest.mark.parametrize("head", ["", "pic,label_id", HEAD.replace("mid", "MID")])
def test_another_header_is_refused(head):
    (error,) = list(read_labels([head] if head else []))
    assert error.line == 1
    assert error.expected.endswith(HEAD)
