"""[core] What is wrong with the rows of an import beside each other, and beside the rights.

Each row by itself was judged when it was read (`streams/grant_csv.py`).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from streams.changes import Body
from streams.grant_csv import ERRORS_MAX, GrantRow, RowError
from streams.instants import format_instant

# Of rows about one and the same, each is compared with at most so many before it.
COMPARED_MAX = 1_000
# What a later row of an id may not change, by column and by field.
FIXED = (
    ("tenant", "tenant_id"),
    ("scope", "scope"),
    ("mid", "mid"),
    ("crid", "crid"),
    ("basis", "basis"),
    ("token", "merchant_token_id"),
)


@dataclass(frozen=True, slots=True)
class Present:
    """What the rows are held against: look-ups in the rights, and the instant of the import.

    `grant` is the one of an id, ended or not; `stands` says that the very same grant is in force.
    """

    now_ms: int
    tenant_open: Callable[[str], bool]
    crid_known: Callable[[str], bool]
    agreement_tenant: Callable[[str], str | None]
    token_tenant: Callable[[str], str | None]
    grant_ended: Callable[[str], bool]
    grant: Callable[[str], Any]
    stands: Callable[[Body], bool]


def conflicts(rows: Sequence[GrantRow], present: Present) -> list[RowError]:
    """Everything wrong, by line and column; at most `ERRORS_MAX`."""
    errors: list[RowError] = []
    for row in rows:
        errors += _reference_errors(row, present)
        if len(errors) >= ERRORS_MAX:
            return errors[:ERRORS_MAX]
    errors += _overlaps(rows)
    return sorted(errors, key=attrgetter("line"))[:ERRORS_MAX]


def _reference_errors(row: GrantRow, present: Present) -> Iterator[RowError]:
    """What a row refers to and the rights do not have, and what they have otherwise."""
    body = row.body
    tenant, agreement, grant_id = body["tenant_id"], body["agreement_id"], body["grant_id"]
    token = body["merchant_token_id"]

    if not present.tenant_open(tenant):
        yield RowError(row.line, "tenant", tenant, "a tenant that is known and open")
    if body["crid"] and not present.crid_known(body["crid"]):
        yield RowError(row.line, "crid", body["crid"], "a CRID set by `crid set`")
    if agreement and present.agreement_tenant(agreement) != tenant:
        yield RowError(row.line, "agreement", agreement, f"an agreement of tenant {tenant}")
    if token and present.token_tenant(token) != tenant:
        yield RowError(row.line, "token", token, f"a token of tenant {tenant} that has not ended")
    if present.grant_ended(grant_id):
        yield RowError(row.line, "grant_id", grant_id, "an id that was not revoked")
    else:
        known = present.grant(grant_id)
        for column, field in FIXED:
            if known is not None and getattr(known, field) != body[field]:
                there = getattr(known, field) or "empty"
                yield RowError(
                    row.line, column, body[field], f"{there}, as grant {grant_id} has it for life"
                )
    end = body["effective_to"]
    if end is not None and end <= present.now_ms and not present.stands(body):
        yield RowError(row.line, "to", format_instant(end), "an end that is still to come")


def _overlaps(rows: Sequence[GrantRow]) -> Iterator[RowError]:
    """Rows that give a tenant the same by the same basis, in part or in whole, twice."""
    about: dict[tuple[str, ...], list[GrantRow]] = {}
    names = ("tenant_id", "mid", "crid", "basis", "agreement_id", "merchant_token_id")
    for row in rows:
        key = tuple(row.body[name] for name in names)
        before = about.setdefault(key, [])
        for other in before[-COMPARED_MAX:]:
            if row.body["grant_id"] != other.body["grant_id"] and _overlap(row.body, other.body):
                yield RowError(
                    row.line, "from", format_instant(row.body["effective_from"]),
                    f"no overlap with line {other.line}, which gives the same"
                )  # fmt: skip
                break
        before.append(row)


def _overlap(one: Body, other: Body) -> bool:
    return (
        not set(one["channels"]).isdisjoint(other["channels"])
        and _meet(one, other, "effective_from", "effective_to")
        and _meet(one, other, "data_from", "data_to")
    )


def _meet(one: Body, other: Body, start: str, end: str) -> bool:
    """Whether two windows with perhaps open ends have an instant in common."""

    def begins_before(first: Body, second: Body) -> bool:
        return first[start] is None or second[end] is None or first[start] < second[end]

    return begins_before(one, other) and begins_before(other, one)
