"""The file of `grant import`: rows to grant bodies, with every error by line and column.

Columns: `grant_id,tenant,scope,mid,crid,channels,basis,agreement,from,to,reason`, in this order,
then any of `token,data_from,data_to,restricted`.
May be empty: `grant_id` (an id is then derived from the row, so the same row again is the same
grant), `mid` for scope CRID, `crid` for scope MID, `agreement` unless the basis is IP_AGREEMENT,
`to` (open end), `reason`; `token` unless the basis is MERCHANT_TOKEN, `data_from` and `data_to`
(open window over event time), `restricted` (yes or no, else no).
"""

import csv
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from schemas.mid import is_mid
from streams.instants import parse_instant
from streams.topics import is_tenant_id

HEADER = (
    "grant_id",
    "tenant",
    "scope",
    "mid",
    "crid",
    "channels",
    "basis",
    "agreement",
    "from",
    "to",
    "reason",
)
LATER_COLUMNS = ("token", "data_from", "data_to", "restricted")
"""May follow the header, each once, in any order."""

CHANNELS = ("API", "WEBHOOK", "SEE")
BASES = ("OWNER", "MERCHANT_TOKEN", "MID_AUTHORIZATION", "IP_AGREEMENT")
ROWS_MAX = 1_000_000
# A file of the wrong kind has an error in every row: a person reads the first ones.
ERRORS_MAX = 1_000


@dataclass(frozen=True, slots=True)
class RowError:
    """One thing wrong: line of the file (1: header), column, what stands there, what should."""

    line: int
    column: str
    value: str
    expected: str


@dataclass(frozen=True, slots=True)
class GrantRow:
    """One row: its line, the `Grant` body for the log, the reason as given."""

    line: int
    body: dict[str, Any]
    reason: str


def parse_grants(lines: Iterable[str]) -> tuple[list[GrantRow], list[RowError]]:
    """Every readable row and every error; at most `ERRORS_MAX` errors, then reading stops.

    Rows are judged one by one here; what they refer to is checked against the rights later.
    """
    rows: list[GrantRow] = []
    errors: list[RowError] = []
    seen: dict[str, int] = {}
    reader = csv.reader(lines)
    header = next(reader, None)
    if header is None:
        return [], [RowError(1, "", "", "a header: " + ",".join(HEADER))]
    names = tuple(name.strip() for name in header)
    later = names[len(HEADER) :]
    if names[: len(HEADER)] != HEADER or not set(later) <= set(LATER_COLUMNS):
        expected = f"the header {','.join(HEADER)}, then any of {', '.join(LATER_COLUMNS)}"
        return [], [RowError(1, "", ",".join(header)[:200], expected)]
    if len(set(later)) != len(later):
        return [], [RowError(1, "", ",".join(later)[:200], "each column once")]
    for cells in reader:
        if not cells:
            continue
        line = reader.line_num
        if len(cells) != len(names):
            errors.append(RowError(line, "", ",".join(cells)[:200], f"{len(names)} columns"))
        else:
            said = dict(zip(names, map(str.strip, cells), strict=True))
            body, problems = _body(dict.fromkeys(LATER_COLUMNS, "") | said)
            errors.extend(RowError(line, *problem) for problem in problems)
            if not problems:
                first = seen.setdefault(body["grant_id"], line)
                if first != line:
                    errors.append(
                        RowError(
                            line, "grant_id", body["grant_id"], f"not the grant of line {first}"
                        )
                    )
                rows.append(GrantRow(line, body, said["reason"]))
        if len(errors) >= ERRORS_MAX or len(rows) > ROWS_MAX:
            break
    if len(rows) > ROWS_MAX:
        errors.append(RowError(ROWS_MAX + 2, "", "", f"at most {ROWS_MAX} rows in one import"))
    return rows, errors[:ERRORS_MAX]


def _body(cell: dict[str, str]) -> tuple[dict[str, Any], list[tuple[str, str, str]]]:
    """The grant body of one row, and what is wrong with it as (column, value, expected)."""
    problems: list[tuple[str, str, str]] = []

    def check(column: str, good: bool, expected: str) -> None:
        if not good:
            problems.append((column, cell[column], expected))

    def instant(column: str) -> int | None:
        if not cell[column]:
            return None
        try:
            return parse_instant(cell[column])
        except ValueError as error:
            problems.append((column, cell[column], str(error)))
            return None

    scope, basis = cell["scope"].upper(), cell["basis"].upper()
    channels = [name.strip().upper() for name in cell["channels"].split("+")]
    check("tenant", is_tenant_id(cell["tenant"]), "a tenant id: small letters, digits, single -")
    check("scope", scope in ("MID", "CRID"), "MID or CRID")
    if scope == "MID":
        check("mid", is_mid(cell["mid"]), "6 digits starting with 0-8, or 9 starting with 9")
        check("crid", not cell["crid"], "empty for scope MID")
    elif scope == "CRID":
        check("crid", cell["crid"].isalnum() and len(cell["crid"]) <= 18, "1 to 18 characters")
        check("mid", not cell["mid"], "empty for scope CRID")
    check(
        "channels",
        all(name in CHANNELS for name in channels) and len(set(channels)) == len(channels),
        "api, webhook, see, joined by +, each at most once",
    )
    check("basis", basis in BASES, "one of " + ", ".join(BASES))
    if basis == "IP_AGREEMENT":
        check("agreement", bool(cell["agreement"]), "the agreement's id, for basis IP_AGREEMENT")
    elif basis in BASES:
        check("agreement", not cell["agreement"], f"empty for basis {basis}")
    if basis == "MERCHANT_TOKEN":
        check("token", bool(cell["token"]), "the token's id, for basis MERCHANT_TOKEN")
    elif basis in BASES:
        check("token", not cell["token"], f"empty for basis {basis}")
    check("restricted", cell["restricted"].lower() in ("", "yes", "no"), "yes, no or empty")
    check("from", bool(cell["from"]), "the first instant in force")
    start, end = instant("from"), instant("to")
    if start is not None and end is not None:
        check("to", end > start, "later than from")
    data_from, data_to = instant("data_from"), instant("data_to")
    if data_from is not None and data_to is not None:
        check("data_to", data_to > data_from, "later than data_from")
    body = {
        "grant_id": cell["grant_id"] or derived_id(cell),
        "tenant_id": cell["tenant"],
        "grantor_crid": "",
        "scope": scope,
        "mid": cell["mid"],
        "crid": cell["crid"],
        "channels": channels,
        "basis": basis,
        "agreement_id": cell["agreement"],
        "status": "ACTIVE",
        "effective_from": start or 0,
        "effective_to": end,
        "data_from": data_from,
        "data_to": data_to,
        "merchant_token_id": cell["token"],
        "restricted": cell["restricted"].lower() == "yes",
    }
    return body, problems


def derived_id(cell: dict[str, str]) -> str:
    """The id of a grant that was given none: a hash of what makes it the grant it is."""
    parts = [cell[name].upper() for name in HEADER[1:8]] + [cell["from"], cell["to"]]
    later = [cell[name] for name in LATER_COLUMNS]
    # A row that says nothing in the later columns has the id that it had without them.
    parts += later if any(later) else []
    return "g-" + hashlib.blake2b("\x1f".join(parts).encode(), digest_size=10).hexdigest()
