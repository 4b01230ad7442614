"""`midgate barcode NUMBER…`: every valid reading of a number, and whose it is."""

import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from midgate.output import Format, Output, show_rows
from streams.errors import InputError

if TYPE_CHECKING:
    from schemas.barcode import BarcodeReport

STDIN = "-"
# The longest number has 42 digits; what is far longer is no list of numbers.
LINE_BYTES_MAX = 4096
COLUMNS = [
    "number",
    "verdict",
    "owner",
    "reason",
    "routing",
    "ai",
    "stc",
    "mid",
    "serial",
    "check",
    "form",
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("barcode")(barcode)


def barcode(
    numbers: Annotated[
        list[str], typer.Argument(metavar="NUMBER", help="numbers; - reads them from stdin")
    ],
    output: Output = Format.TABLE,
) -> None:
    """Read barcodes: every valid reading, and the owner.

    Spaces, dashes and GS1 brackets in a number are ignored; a number with spaces needs quotes.
    With - one number a line is read from stdin. JSON is one object a line, one for each number.
    Nothing but the digits is asked: whether somebody has a right to a package says `explain`.
    The exit code is 0 whatever the verdict is.
    """
    from schemas.barcode import read

    reports = (read(number) for number in _all(numbers))
    if output is Format.JSON:
        for report in reports:
            typer.echo(json.dumps(_record(report)))
    else:
        rows = [row for report in reports for row in _rows(report)]
        show_rows("barcodes", rows, output, columns=COLUMNS, empty="no numbers")


def _all(numbers: list[str]) -> Iterator[str]:
    """The numbers given, with stdin's in the place of its dash; blank lines are none."""
    for number in numbers:
        if number == STDIN:
            yield from _from_stdin()
        else:
            yield number


def _from_stdin() -> Iterator[str]:
    line_number = 0
    while line := sys.stdin.buffer.readline(LINE_BYTES_MAX + 1):
        line_number += 1
        if len(line) > LINE_BYTES_MAX:
            raise InputError(
                f"stdin, line {line_number}: longer than {LINE_BYTES_MAX} bytes",
                hint="give one number a line",
            )
        # What is not UTF-8 is shown with question marks, and has no known form.
        number = line.decode("utf-8", "replace").strip()
        if number:
            yield number


def _record(report: "BarcodeReport") -> dict[str, Any]:
    """The report for programs; absent parts are null."""
    return {
        "input": report.input,
        "verdict": report.verdict.value,
        "mid": report.mid or None,
        "readings": [
            {
                "routing": one.routing or None,
                "ai": one.ai or None,
                "stc": one.stc or None,
                "mid": one.mid or None,
                "serial": one.serial or None,
                "check_digit": one.check_digit or None,
            }
            for one in report.readings
        ],
        "reason": report.reason or None,
    }


def _rows(report: "BarcodeReport") -> list[dict[str, Any]]:
    """One row a reading, or one without; what belongs to the number stands in the first."""
    row: dict[str, Any] = dict.fromkeys(COLUMNS, "") | {
        "number": report.input,
        "verdict": report.verdict.value,
        "owner": report.mid,
        "reason": report.reason,
        "form": report.form,
    }
    rows = [
        {
            "routing": one.routing,
            "ai": one.ai,
            "stc": one.stc,
            "mid": one.mid,
            "serial": one.serial,
            "check": one.check_digit,
        }
        for one in report.readings
    ] or [{}]
    return [{**(row if place == 0 else {}), **parts} for place, parts in enumerate(rows)]
