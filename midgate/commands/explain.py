"""`midgate explain`: why somebody gets an event, or does not, and where it was delivered."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from midgate.effective import settings
from midgate.output import Format, Output, Progress, note, show_json, show_record, show_rows
from midgate.restricted import Reveal, Why, look
from midgate.rights_session import Actor, instant_option, open_session
from streams.errors import InputError
from streams.grant_csv import CHANNELS

EXIT_DENIED = 7


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("explain")(explain)


def explain(
    context: typer.Context,
    what: Annotated[
        str,
        typer.Argument(
            metavar="BARCODE|EVENT|PARTITION:OFFSET",
            help="a number, an event id (`mg-event`, 24 hex digits), or a raw record",
        ),
    ],
    tenant: Annotated[str, typer.Option(help="only for this tenant")] = "",
    as_tenant: Annotated[
        str, typer.Option("--as-tenant", help="say only what this tenant may hear")
    ] = "",
    channel: Annotated[str, typer.Option(help="for a barcode: api, webhook or see")] = "see",
    at: Annotated[
        str,
        typer.Option("--at", help="under the rights of an instant, a version, or `now`"),
    ] = "",
    since: Annotated[
        str, typer.Option("--since", help="look for events received since, also beyond the index")
    ] = "",
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="exit 7 when nobody (or not TENANT) gets it")
    ] = False,
    reveal: Reveal = False,
    reason: Why = "",
    actor: Actor = "",
    output: Output = Format.TABLE,
) -> None:
    """Explain a decision: parse, owner, label, each grant considered, outcome, where delivered.

    A barcode is decided under the rights as they are, as an event of now (UTC) whose label is not
    known, and its recorded events are explained as they were decided: at the instant and under the
    rights that the ledger names. So is an event id or a raw position. With --at, everything is
    decided under the rights as they were there.
    """
    from midgate.explaining import Asked, answer

    effective = settings(context)
    if channel.upper() not in CHANNELS:
        raise InputError(f"{channel} is no channel", hint="api, webhook or see")
    if as_tenant and (reveal or tenant):
        raise InputError("--as-tenant stands alone", hint="without --tenant and --reveal")
    asked = Asked(
        what=what,
        tenant=as_tenant or tenant,
        channel=CHANNELS.index(channel.upper()) + 1,
        at=at,
        since_ms=instant_option("--since", since),
        present_ms=int(time.time() * 1000),
        look=look(reveal, actor, reason, f"explain {what}"),
        as_tenant=bool(as_tenant),
    )

    async def work(progress: Progress) -> dict[str, Any]:
        async with open_session(effective, writing=False) as session:
            return await answer(session, asked, progress.report)

    with Progress("reading raw", unit="records") as progress:
        explained = asyncio.run(work(progress))
    if output is Format.JSON:
        show_json({"explain": explained})
    elif as_tenant:
        show_record("explain", explained, output)
    else:
        show_explained(explained)
    given = ("entitled", "delivered")
    if exit_code and explained.get("answer", explained.get("outcome")) not in given:
        raise typer.Exit(EXIT_DENIED)


def show_explained(explained: Mapping[str, Any]) -> None:
    """The same for people, from the outside in."""
    typer.echo(f"{explained['input']}: {explained['outcome']}, {explained['reason']}")
    if "barcode" in explained:
        show_decision(explained)
    show_events(explained.get("events", ()))
    searched = explained.get("search")
    if searched is not None:
        show_search(searched, bool(explained["events"]))


def show_decision(explained: Mapping[str, Any]) -> None:
    """Parse, owner, label, grants and tenants of one decision."""
    barcode, label = explained["barcode"], explained["label"]
    owner = f"owner MID {barcode['mid']}" if barcode["mid"] else barcode["reason"]
    typer.echo(f"barcode {barcode['number']}: {barcode['verdict']}, {owner}")
    for reading in barcode["readings"]:
        parts = [f"{name} {value}" for name, value in reading.items() if value]
        typer.echo("  reading: " + ", ".join(parts))
    if label is not None and label["label"] is not None:
        said = label["label"]
        typer.echo(f"label {said['label_id']}: MID {said['mid']}, by {said['generated_by']}")
    elif label is not None and label["known"]:
        typer.echo(f"label: none of {label['known']} counts, {label['reason']}")
    typer.echo(f"channel {explained['channel']}, {explained['decided']['sentence']}")
    if explained["grants"]:
        columns = ["tenant", "grant", "basis", "reason"]
        show_rows("grants", explained["grants"], Format.TABLE, columns=columns)
    else:
        note("no grant touches this MID")
    for row in explained["tenants"]:
        typer.echo(f"tenant {row['tenant']}: {row['outcome']}, {row['reason']}")
    for copy in explained.get("delivered", ()):
        typer.echo(f"copy of {copy['tenant']}: {_where(copy)}")
    _show_restricted("", explained)


def show_events(events: Sequence[Mapping[str, Any]]) -> None:
    """A line for each recorded event, and where its copies stand."""
    for event in events:
        happened = event["event"] or {"event_code": "", "event_time": "", "received": ""}
        what = f"{happened['event_code']} {happened['event_time']}".strip()
        typer.echo(f"event {event['input']} {what}: {event['outcome']}, {event['reason']}")
        typer.echo(f"  received {happened['received']}, {event['decided']['sentence']}")
        if "held" in event:
            typer.echo(f"  waited for its label: {event['held']['state'].replace('_', ' ')}")
        for row in event["tenants"]:
            typer.echo(f"  tenant {row['tenant']}: {row['outcome']}, {row['reason']}")
        for copy in event["delivered"]:
            typer.echo(f"  copy of {copy['tenant']}: {_where(copy)}")
        _show_restricted("  ", event)


def show_search(searched: Mapping[str, Any], found: bool) -> None:
    """What was looked at, and what is not recorded any more."""
    if searched["note"]:
        note(searched["note"])
    elif not found:
        note(f"no event of it received since {searched['since']}")
    if searched["recorded_from"]:
        note(f"what was received before {searched['recorded_from']} is no longer recorded")


def _show_restricted(indent: str, event: Mapping[str, Any]) -> None:
    if event.get("restricted"):
        said = ", ".join(f"{name} {value}" for name, value in event["restricted"].items())
        typer.echo(f"{indent}restricted: {said}")


def _where(copy: Mapping[str, Any]) -> str:
    if copy["found"] == "yes":
        return f"{copy['topic']} {copy['partition']}:{copy['offset']}"
    return f"{copy['found'].replace('_', ' ')}, {copy['detail']}"
