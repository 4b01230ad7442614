"""`midgate explain BARCODE|PARTITION:OFFSET`: why somebody gets an event, or does not."""

import asyncio
import time
from typing import Annotated, Any

import typer

from midgate.effective import settings
from midgate.explanation import (
    Decided,
    Question,
    decided_at_position,
    explain_barcode,
    explain_event,
    rights_as_decided,
)
from midgate.output import Format, Output, note, show_json, show_rows
from midgate.reading import one_record, position_of
from midgate.rights_session import Session, instant_option, open_session
from streams.errors import InputError
from streams.grant_csv import CHANNELS

EXIT_DENIED = 7


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("explain")(explain)


def explain(
    context: typer.Context,
    what: Annotated[
        str, typer.Argument(metavar="BARCODE|PARTITION:OFFSET", help="a number, or a raw record")
    ],
    tenant: Annotated[str, typer.Option(help="only for this tenant")] = "",
    channel: Annotated[str, typer.Option(help="for a barcode: api, webhook or see")] = "see",
    at: Annotated[str, typer.Option("--at", help="for a barcode: decide at this instant")] = "",
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="exit 7 when nobody (or not TENANT) gets it")
    ] = False,
    output: Output = Format.TABLE,
) -> None:
    """Explain a decision: the parse, each grant considered, the outcome and its reason.

    A barcode is decided anew, under the present rights, as an event of that instant (UTC) whose
    label is not known. A raw position is explained as it was
    decided: at the instant and under the rights that the ledger names, if it was decided already.
    """
    effective = settings(context)
    place = position_of(what)
    if channel.upper() not in CHANNELS:
        raise InputError(f"{channel} is no channel", hint="api, webhook or see")
    now_ms = instant_option("--at", at)

    async def work() -> dict[str, Any]:
        async with open_session(effective, writing=False) as session:
            asked = Question(
                tenant=tenant,
                channel=CHANNELS.index(channel.upper()) + 1,
                now_ms=int(time.time() * 1000) if now_ms is None else now_ms,
            )
            if place is None:
                return explain_barcode(what, session.follower.snapshot(), asked)
            return await _explain_position(session, place, asked)

    explained = asyncio.run(work())
    if output is Format.JSON:
        show_json({"explain": explained})
    else:
        show_explained(explained)
    if exit_code and explained["outcome"] != "delivered":
        raise typer.Exit(EXIT_DENIED)


async def _explain_position(
    session: Session, place: tuple[int, int], asked: Question
) -> dict[str, Any]:
    effective = session.settings
    record = await one_record(effective.kafka, effective.layout.topics.raw, *place)
    decided = await decided_at_position(effective.kafka, effective.layout, *place)
    snapshot = session.follower.snapshot()
    if decided is None:
        decided = Decided(asked.now_ms, session.follower.version, "")
    elif decided.version < session.follower.version:
        snapshot = await rights_as_decided(effective.kafka, effective.layout, decided.version)
    return explain_event(record, snapshot, decided, asked)


def show_explained(explained: dict[str, Any]) -> None:
    """The same for people, from the outside in."""
    barcode = explained["barcode"]
    typer.echo(f"{explained['input']}: {explained['outcome']}, {explained['reason']}")
    owner = f"owner MID {barcode['mid']}" if barcode["mid"] else barcode["reason"]
    typer.echo(f"barcode {barcode['number']}: {barcode['verdict']}, {owner}")
    for reading in barcode["readings"]:
        parts = [f"{name} {value}" for name, value in reading.items() if value]
        typer.echo("  reading: " + ", ".join(parts))
    typer.echo(f"channel {explained['channel']}, {explained['decided']['sentence']}")
    if explained["grants"]:
        columns = ["tenant", "grant", "basis", "reason"]
        show_rows("grants", explained["grants"], Format.TABLE, columns=columns)
    else:
        note("no grant touches this MID")
    for row in explained["tenants"]:
        typer.echo(f"tenant {row['tenant']}: {row['outcome']}, {row['reason']}")
