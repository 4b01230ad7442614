"""`midgate breach`: what was delivered and should not have been, fit to send."""

import asyncio
import csv
import json
import sys
import time
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from midgate.effective import settings
from midgate.output import SCHEMA_VERSION, Format, Progress, note, show_rows
from midgate.rights_session import open_session
from streams.instants import format_instant

if TYPE_CHECKING:
    from midgate.breach_report import Report

EXAMPLES_SHOWN = 20
SHOWN = ["kind", "tenant", "barcode", "event_code", "personal_data", "decided_at", "position"]


class Form(StrEnum):
    """How the list comes."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("breach")(breach)


def breach(
    context: typer.Context,
    grant: Annotated[str, typer.Option(help="the grant that was found wrong")],
    output: Annotated[
        Form, typer.Option("--output", "-o", help="table for people, json or csv to send")
    ] = Form.TABLE,
) -> None:
    """List what a wrong grant led to: events delivered that should not have been, and the reverse.

    By what `midgate grant correct` wrote down. Each event is decided anew under the rights as they
    were and by the labels that were known, with this one grant put right; another right of the
    tenant to the event makes it right. What waited for its label is judged at the end of the wait.
    Dates that are no longer recorded come as rows of kind `not_recorded`. No names are in it.
    """
    from midgate.breach_report import report

    effective = settings(context)

    async def work(progress: Progress) -> "Report":
        async with open_session(effective, writing=False) as session:
            return await report(session, grant, int(time.time() * 1000), progress.report)

    with Progress("replaying", unit="records") as progress:
        found = asyncio.run(work(progress))
    if output is Form.CSV:
        _csv(found)
    elif output is Form.JSON:
        _json(found)
    else:
        _table(found)
    for gap in found.gaps:
        note(f"not recorded any more: what was decided from {gap['from']} to {gap['to']}")
    if found.would_have_waited:
        note(
            f"{found.would_have_waited:,} events (would_have_waited) are not judged: nothing says"
            " whether their label would have come in time"
        )


def _json(found: "Report") -> None:
    """One object, its events a row a line: they may be more than memory holds."""
    head = json.dumps(_head(found), indent=2, ensure_ascii=False)
    typer.echo(f'{{"schema_version": {SCHEMA_VERSION}, "breach": {head[:-2]},\n  "events": [')
    separator = "  "
    for row in found.rows():
        typer.echo(f"{separator}{json.dumps(row, ensure_ascii=False)}")
        separator = ", "
    typer.echo("]}}")


def _head(found: "Report") -> dict[str, Any]:
    return {
        "grant": found.grant.grant_id,
        "tenant": found.grant.tenant_id,
        "made_at": format_instant(int(time.time() * 1000)),
        "corrections": [
            {
                "correction": one.correction_id,
                "finding": one.finding.lower(),
                "wrong_from": format_instant(one.wrong_from),
                "wrong_to": format_instant(one.wrong_to),
                "known_at": format_instant(one.known_at),
                "recorded_in_version": one.changed_at + 1,
                "reason": one.reason,
            }
            for one in found.corrections
        ],
        "not_recorded": [{"from": gap["from"], "to": gap["to"]} for gap in found.gaps],
        "would_have_waited": found.would_have_waited,
        "counts": found.summary(),
    }


def _csv(found: "Report") -> None:
    from midgate.breach_report import COLUMNS

    writer = csv.DictWriter(sys.stdout, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in found.rows():
        writer.writerow({name: _inert(row[name]) for name in COLUMNS})


def _inert(cell: Any) -> Any:
    """A cell that no spreadsheet takes for a formula; numbers and codes come from outside."""
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in "=+-@\t\r" and cell else cell


def _table(found: "Report") -> None:
    show_rows("counts", found.summary(), Format.TABLE, empty="nothing differs")
    rows = [row for _, row in zip(range(EXAMPLES_SHOWN), found.rows(), strict=False)]
    if rows:
        typer.echo("")
        show_rows("events", rows, Format.TABLE, columns=SHOWN)
    if sum(found.counts.values()) > EXAMPLES_SHOWN:
        note(f"the first {EXAMPLES_SHOWN} are shown; --output csv or json has all")
