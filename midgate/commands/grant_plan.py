"""`midgate grant plan`: what would change for whom, before anything is changed."""

import asyncio
import csv
from pathlib import Path
from typing import Annotated, Any

import typer

from midgate.effective import settings
from midgate.grant_import import check_references, read_file, refuse
from midgate.grant_plan import Ended, compare, tried, window_of
from midgate.output import Format, Output, Progress, note, show_json, show_rows
from midgate.rights_session import instant_option, open_session
from streams.errors import InputError

ENDED_COLUMNS = ("grant_id", "tenant", "mid", "crid")
REVOCATIONS_HINT = "columns grant_id, or tenant and mid or crid; in each row one of these"
COLUMNS = ["tenant", "gained", "lost", "personal_gained", "personal_lost"]


def plan(
    context: typer.Context,
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE.csv]", help="grants, as for `grant import`")
    ] = None,
    revoke: Annotated[
        list[str] | None, typer.Option(help="as if this grant were revoked; may be repeated")
    ] = None,
    revocations: Annotated[
        Path | None, typer.Option(help="CSV: grant_id, or tenant and mid or crid")
    ] = None,
    hours: Annotated[int, typer.Option(min=1, help="events of the last so many hours")] = 24,
    at: Annotated[
        str, typer.Option("--at", help="decide as at this instant, for grants that begin later")
    ] = "",
    output: Output = Format.TABLE,
) -> None:
    """Show which recent events would go to whom, or no longer, if these changes were made.

    Every raw event of the last hours is decided twice: under the rights as they are, and as they
    would be, both by the labels as they are. Nothing is written. It reads some 60,000 events a
    second, and the labels before.
    """
    effective = settings(context)
    ended = [Ended(grant_id=one) for one in revoke or []]
    ended += read_ended(revocations) if revocations else []
    if file is None and not ended:
        raise InputError("nothing to plan", hint="a CSV file of grants, --revoke, --revocations")
    rows, errors = read_file(file) if file is not None else ([], [])
    window = window_of(hours, instant_option("--at", at))

    async def work(progress: Progress) -> dict[str, Any]:
        async with open_session(effective, writing=False) as session:
            found = [*errors, *check_references(session, rows)]
            if found:
                assert file is not None, "errors are of its rows"
                refuse(file, sorted(found, key=lambda error: error.line), output)
            tried_on = tried(session, rows, ended, window[1])
            return await compare(effective, session, tried_on, window, progress.report)

    with Progress("deciding twice", unit="events") as progress:
        report = asyncio.run(work(progress))
    report["changes"] = {"grants": len(rows), "revocations": len(ended)}
    if output is Format.JSON:
        show_json({"plan": report})
        return
    show_rows(
        "plan", report["tenants"], output, columns=COLUMNS, empty="nothing would change for anybody"
    )
    for row in report["tenants"]:
        for what, examples in row["examples"].items():
            numbers = ", ".join(f"{one['barcode']} ({one['position']})" for one in examples)
            typer.echo(f"{row['tenant']} {what.replace('_', ' ')}, for example: {numbers}")
    note(f"{report['events']:,} events since {report['since']}; nothing was written")
    for one in report["notes"]:
        note(one)


def read_ended(file: Path) -> list[Ended]:
    """What a file of revocations takes away. Raises InputError naming the line."""
    ended: list[Ended] = []
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines)
            if not set(reader.fieldnames or ()) & {"grant_id", "tenant"}:
                raise InputError(f"{file}:1 is no such header", hint=REVOCATIONS_HINT)
            for row in reader:
                said = {name: (row.get(name) or "").strip() for name in ENDED_COLUMNS}
                one = Ended(**said)
                if not one.is_sound:
                    raise InputError(f"{file}:{reader.line_num} is unclear", hint=REVOCATIONS_HINT)
                ended.append(one)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file} cannot be read: {error}", hint="a CSV file in UTF-8") from error
    return ended
