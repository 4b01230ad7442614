"""Rows of an import beside each other and beside the rights: one list, by line and column."""

from dataclasses import replace

import pytest

from streams.facts import grant_of
from streams.grant_conflicts import Present, conflicts
from streams.grant_csv import HEADER, LATER_COLUMNS, GrantRow, parse_grants
from streams.instants import parse_instant
from tests.unit.streams.log_building import simple_grant

HEAD = ",".join((*HEADER, *LATER_COLUMNS))
NOW_MS = parse_instant("2026-07-25")
NOBODY = Present(
    now_ms=NOW_MS,
    tenant_open={"acme", "shop"}.__contains__,
    crid_known={"C1"}.__contains__,
    agreement_tenant={"A-1": "globex"}.get,
    token_tenant={"T-1": "shop", "T-2": "shop"}.get,
    grant_ended=lambda grant_id: False,
    grant=lambda grant_id: None,
    stands=lambda body: False,
)


def rows_of(*texts: str) -> list[GrantRow]:
    rows, errors = parse_grants([HEAD, *texts])
    assert errors == []
    return rows


def found(rows: list[GrantRow], present: Present = NOBODY) -> list[tuple[int, str]]:
    return [(error.line, error.column) for error in conflicts(rows, present)]


def row(
    tenant: str = "acme",
    mid: str = "901234567",
    channels: str = "see",
    basis: str = "OWNER",
    dates: str = "2026-04-01,",
    later: str = ",,,",
    grant_id: str = "",
) -> str:
    return f"{grant_id},{tenant},MID,{mid},,{channels},{basis},,{dates},why,{later}"


def test_what_a_row_refers_to_must_be_there():
    rows = rows_of(
        row(),
        ",acme,CRID,,77,see,IP_AGREEMENT,A-1,2026-04-01,,,,,,",
        row(tenant="x"),
        row(tenant="acme", basis="MERCHANT_TOKEN", later="T-1,,,"),
        row(tenant="shop", basis="MERCHANT_TOKEN", later="T-9,,,"),
    )
    ended = {rows[0].body["grant_id"]}
    assert found(rows, replace(NOBODY, grant_ended=ended.__contains__)) == [
        *((2, "grant_id"), (3, "crid"), (3, "agreement"), (4, "tenant")),
        *((5, "token"), (6, "token")),
    ]


def test_an_id_keeps_what_it_has_for_life():
    known = grant_of(simple_grant("g1", "shop", mid="123456"), "somebody", "", 7)
    present = replace(NOBODY, grant={"g1": known}.get)
    assert found(rows_of(row(grant_id="g1")), present) == [(2, "tenant"), (2, "mid")]
    assert found(rows_of(row(grant_id="g2")), present) == []


def test_what_is_over_already_is_refused_unless_it_stands_so():
    """A file from last year, run again, changes nothing and is no mistake."""
    rows = rows_of(row(dates="2026-04-01,2026-07-25"), row(dates="2026-07-25,2026-07-25T00:00:01Z"))
    assert found(rows) == [(2, "to")]
    assert found(rows, replace(NOBODY, stands=lambda body: True)) == []


@pytest.mark.parametrize(
    ("other", "overlaps"),
    [
        (row(dates="2026-05-01,"), True),
        (row(dates="2026-03-01,2026-04-02"), False),
        (row(dates="2027-01-01,", channels="api+see"), True),
        (row(dates="2027-01-01,", channels="api"), False),
        (row(dates="2027-01-01,", mid="901234568"), False),
        (row(dates="2027-01-01,", tenant="shop"), False),
        (row(dates="2027-01-01,", later=",2026-01-01,,"), True),
        (row(dates="2027-01-01,", basis="MID_AUTHORIZATION"), False),
    ],
)
def test_rows_that_give_the_same_twice_are_named(other, overlaps):
    present = replace(NOBODY, now_ms=0)
    first = row(dates="2026-04-02,")
    assert found(rows_of(first, other), present) == ([(3, "from")] if overlaps else [])


def test_windows_and_tokens_side_by_side_do_not_overlap():
    rows = rows_of(
        row(tenant="shop", basis="MERCHANT_TOKEN", channels="api", later="T-1,,2026-05-01,"),
        row(tenant="shop", basis="MERCHANT_TOKEN", channels="api", later="T-1,2026-05-01,,"),
        row(tenant="shop", basis="MERCHANT_TOKEN", channels="api", later="T-2,,,"),
    )
    assert found(rows) == []


def test_the_list_is_by_line():
    rows = rows_of(row(), row(dates="2026-05-01,"), row(tenant="x"), row(mid="123456", tenant="y"))
    assert found(rows) == [(3, "from"), (4, "tenant"), (5, "tenant")]
