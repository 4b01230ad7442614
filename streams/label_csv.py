"""[core] The file of `labels import`: rows to labels, with every error by line and column.

Columns: `pic,label_id,mid,generated_by,merchant_token,generated_at,valid_from,valid_to,
mailing_date,unique_tracking_id`, in this order. May be empty: `label_id` (an id is then derived
from the row, so the same row again is the same label), `merchant_token`, `generated_at` (then
`valid_from`), `mailing_date`, `unique_tracking_id`. Where the digits of the number name an owner,
`mid` must be that owner: a label never takes a piece away from it.
"""

import csv
import datetime
import hashlib
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from schemas.barcode import normalise, owner
from schemas.mid import is_mid
from schemas.reasons import BarcodeVerdict
from streams.grant_csv import RowError
from streams.instants import parse_instant
from streams.label_history import Label
from streams.topics import is_tenant_id

HEADER = (
    "pic",
    "label_id",
    "mid",
    "generated_by",
    "merchant_token",
    "generated_at",
    "valid_from",
    "valid_to",
    "mailing_date",
    "unique_tracking_id",
)
TEXT_CHARACTERS_MAX = 100
LABEL_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,99}")
EPOCH = datetime.date(1970, 1, 1)
_VERDICTS = (BarcodeVerdict.OWNED, BarcodeVerdict.NO_OWNER)


class LabelRow(NamedTuple):
    """One readable row: its line in the file, the PIC, the label."""

    line: int
    pic: str
    label: Label


def read_labels(lines: Iterable[str]) -> Iterator[LabelRow | RowError]:
    """Every readable row and every error, in order of the file; no more than one row in memory.

    A row with errors yields each of them and no label. A wrong header is one error and the end.
    """
    reader = csv.reader(lines)
    header = next(reader, None)
    if header is None or tuple(name.strip() for name in header) != HEADER:
        yield RowError(1, "", ",".join(header or [])[:200], "the header " + ",".join(HEADER))
        return
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            yield RowError(reader.line_num, "", "", f"a row of a CSV file: {error}")
            return
        if cells is None:
            return
        line = reader.line_num
        if not cells:
            continue
        if len(cells) != len(HEADER):
            yield RowError(line, "", ",".join(cells)[:200], f"{len(HEADER)} columns")
            continue
        yield from _judge(line, dict(zip(HEADER, map(str.strip, cells), strict=True)))


def _judge(line: int, cell: dict[str, str]) -> Iterator[LabelRow | RowError]:
    problems: list[RowError] = []

    def check(column: str, good: bool, expected: str) -> None:
        if not good:
            problems.append(RowError(line, column, cell[column][:200], expected))

    found = owner(normalise(cell["pic"]).encode("ascii", "replace"))
    check("pic", found.verdict in _VERDICTS, "a tracking number whose check digit is right")
    check(
        "label_id",
        not cell["label_id"] or LABEL_ID.fullmatch(cell["label_id"]) is not None,
        "empty, or letters, digits and . _ : - (at most 100)",
    )
    check("mid", is_mid(cell["mid"]), "6 digits starting with 0-8, or 9 starting with 9")
    if found.mid and is_mid(cell["mid"]):
        named = found.mid.decode("ascii")
        check("mid", cell["mid"] == named, f"{named}, which the number itself names")
    check(
        "generated_by",
        is_tenant_id(cell["generated_by"]),
        "a tenant id: small letters, digits, single -",
    )
    for column in ("merchant_token", "unique_tracking_id"):
        text = cell[column]
        good = text.isprintable() and len(text) <= TEXT_CHARACTERS_MAX
        check(column, good, f"at most {TEXT_CHARACTERS_MAX} printable characters")
    instants = {
        column: _instant(line, column, cell, problems)
        for column in ("generated_at", "valid_from", "valid_to")
    }
    start, end = instants["valid_from"], instants["valid_to"]
    if start is not None and end is not None:
        check("valid_to", end > start, "later than valid_from")
    mailed = _date(line, cell, problems)
    if problems or start is None or end is None:
        yield from problems
        return
    generated = instants["generated_at"]
    yield LabelRow(
        line,
        found.pic.decode("ascii"),
        Label(
            cell["label_id"] or derived_id(cell),
            cell["mid"],
            cell["generated_by"],
            cell["merchant_token"],
            start if generated is None else generated,
            start,
            end,
            mailed,
            cell["unique_tracking_id"],
        ),
    )


def derived_id(cell: dict[str, str]) -> str:
    """The id of a label that was given none: a hash of all that makes it the label it is."""
    parts = [cell[name] for name in HEADER if name not in ("pic", "label_id")]
    return "l-" + hashlib.blake2b("\x1f".join(parts).encode(), digest_size=10).hexdigest()


def _instant(line: int, column: str, cell: dict[str, str], problems: list[RowError]) -> int | None:
    text = cell[column]
    if not text and column == "generated_at":
        return None
    try:
        return parse_instant(text)
    except ValueError as error:
        problems.append(RowError(line, column, text[:200], str(error)))
        return None


def _date(line: int, cell: dict[str, str], problems: list[RowError]) -> int | None:
    text = cell["mailing_date"]
    if not text:
        return None
    try:
        return (datetime.date.fromisoformat(text) - EPOCH).days
    except ValueError:
        problems.append(RowError(line, "mailing_date", text[:200], "a date, as 2026-07-23"))
        return None
