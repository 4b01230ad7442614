"""The import file: good rows become bodies, bad ones are named by line and column."""

import pytest

from streams.grant_csv import HEADER, LATER_COLUMNS, parse_grants
from streams.instants import format_instant, parse_instant

HEAD = ",".join(HEADER)
GOOD = ",acme,MID,901234567,,api+see,OWNER,,2026-04-01T00:00:00Z,,from the contract"


def errors_of(*rows: str) -> list[tuple[int, str]]:
    _, errors = parse_grants([HEAD, *rows])
    return [(error.line, error.column) for error in errors]


def test_a_good_row_becomes_a_grant():
    rows, errors = parse_grants([HEAD, GOOD])
    assert errors == []
    body = rows[0].body
    assert (body["tenant_id"], body["mid"], body["channels"]) == (
        "acme",
        "901234567",
        ["API", "SEE"],
    )
    assert body["effective_from"] == 1_775_001_600_000
    assert body["effective_to"] is None
    assert rows[0].reason == "from the contract"


def test_a_row_without_an_id_always_gets_the_same_one():
    """So that the same file twice is the same grants, not twice as many."""
    first = parse_grants([HEAD, GOOD])[0][0].body["grant_id"]
    again = parse_grants([HEAD, "", GOOD])[0][0].body["grant_id"]
    other = parse_grants([HEAD, GOOD.replace("901234567", "901234568")])[0][0].body["grant_id"]
    assert first == again != other


@pytest.mark.parametrize(
    ("row", "column"),
    [
        (GOOD.replace("acme", "Acme"), "tenant"),
        (GOOD.replace("acme", "a--b"), "tenant"),
        (GOOD.replace("MID,", "ALL,"), "scope"),
        (GOOD.replace("901234567", "123456789"), "mid"),
        (GOOD.replace("901234567", "912345"), "mid"),
        (GOOD.replace("901234567,", "901234567,77"), "crid"),
        (GOOD.replace("api+see", "api+fax"), "channels"),
        (GOOD.replace("api+see", "api+api"), "channels"),
        (GOOD.replace("api+see", ""), "channels"),
        (GOOD.replace("OWNER", "FRIEND"), "basis"),
        (GOOD.replace("OWNER", "IP_AGREEMENT"), "agreement"),
        (GOOD.replace("OWNER,", "OWNER,A-1"), "agreement"),
        (GOOD.replace("2026-04-01T00:00:00Z", ""), "from"),
        (GOOD.replace("2026-04-01T00:00:00Z", "2026-04-01T00:00:00"), "from"),
        (GOOD.replace("00:00:00Z,,", "00:00:00Z,2026-03-01,"), "to"),
    ],
)
def test_each_mistake_is_named_by_line_and_column(row, column):
    assert errors_of(GOOD, row) == [(3, column)]


def test_all_errors_come_in_one_list():
    assert errors_of(GOOD.replace("acme", "ACME"), GOOD, GOOD.replace("OWNER", "x")) == [
        (2, "tenant"),
        (4, "basis"),
    ]


def test_the_same_grant_twice_in_a_file_is_an_error():
    assert errors_of(GOOD, GOOD) == [(3, "grant_id")]


def test_a_file_of_another_kind_is_refused_at_its_header():
    rows, errors = parse_grants(["a,b,c", "1,2,3"])
    assert rows == []
    assert errors[0].line == 1
    assert parse_grants([])[1][0].line == 1


LATER_HEAD = f"{HEAD},{','.join(LATER_COLUMNS)}"
BY_TOKEN = GOOD.replace("OWNER", "MERCHANT_TOKEN") + ",T-1,2026-01-01,2026-02-01,yes"


def test_later_columns_may_follow_in_any_order():
    rows, errors = parse_grants([LATER_HEAD, BY_TOKEN, GOOD.replace("acme", "globex") + ",,,,"])
    assert errors == []
    told = ("merchant_token_id", "data_from", "data_to", "restricted")
    assert [rows[0].body[name] for name in told] == [
        *("T-1", 1_767_225_600_000, 1_769_904_000_000),
        True,
    ]
    assert [rows[1].body[name] for name in told] == ["", None, None, False]
    assert rows[0].reason == "from the contract"
    rows, errors = parse_grants([f"{HEAD},restricted,token", GOOD + ",YES,"])
    assert (errors, rows[0].body["restricted"]) == ([], True)


def test_a_row_that_says_nothing_in_the_later_columns_keeps_its_derived_id():
    """Or the same contract in a newer file would be another grant."""
    [before], _ = parse_grants([HEAD, GOOD])
    [same], _ = parse_grants([LATER_HEAD, GOOD + ",,,,"])
    [other], _ = parse_grants([LATER_HEAD, GOOD + ",,,,yes"])
    assert before.body["grant_id"] == same.body["grant_id"] != other.body["grant_id"]


@pytest.mark.parametrize(
    ("row", "column"),
    [
        (BY_TOKEN.replace("T-1", ""), "token"),
        (BY_TOKEN.replace("MERCHANT_TOKEN", "OWNER"), "token"),
        (BY_TOKEN.replace("2026-02-01", "2026-01-01"), "data_to"),
        (BY_TOKEN.replace("2026-02-01", "soon"), "data_to"),
        (BY_TOKEN.replace("2026-01-01", "2026-01-01T00:00:00"), "data_from"),
        (BY_TOKEN.replace("yes", "maybe"), "restricted"),
    ],
)
def test_mistakes_in_the_later_columns_are_named(row, column):
    _, errors = parse_grants([LATER_HEAD, row])
    assert [(error.line, error.column) for error in errors] == [(2, column)]


@pytest.mark.parametrize("head", [f"{HEAD},colour", f"{HEAD},token,token", f"token,{HEAD}"])
def test_other_columns_are_refused_at_the_header(head):
    rows, errors = parse_grants([head, GOOD])
    assert (rows, errors[0].line) == ([], 1)


@pytest.mark.parametrize(
    ("text", "instant_ms"),
    [
        ("2026-04-01", 1_775_001_600_000),
        ("2026-04-01T02:00:00+02:00", 1_775_001_600_000),
        ("2026-04-01T00:00:00.250Z", 1_775_001_600_250),
    ],
)
def test_instants_are_read_with_their_zone(text, instant_ms):
    assert parse_instant(text) == instant_ms
    assert parse_instant(format_instant(instant_ms)) == instant_ms
