"""The import file: good rows become bodies, bad ones are named by line and column."""

import pytest

from streams.grant_csv import HEADER, parse_grants, reference_errors
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


def test_what_a_row_refers_to_must_be_there():
    rows, _ = parse_grants(
        [HEAD, GOOD, ",acme,CRID,,77,see,IP_AGREEMENT,A-1,2026-04-01,,", GOOD.replace("acme", "x")]
    )
    errors = reference_errors(
        rows,
        tenant_open={"acme"}.__contains__,
        crid_known=lambda crid: False,
        agreement_tenant={"A-1": "globex"}.get,
        grant_ended={rows[0].body["grant_id"]}.__contains__,
    )
    assert [(error.line, error.column) for error in errors] == [
        (2, "grant_id"),
        (3, "crid"),
        (3, "agreement"),
        (4, "tenant"),
    ]


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
