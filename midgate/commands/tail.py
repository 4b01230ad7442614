"""`midgate tail`: what a tenant sees."""

import asyncio
from typing import Annotated, Any

import typer

from midgate.effective import settings
from midgate.output import Format, Output, note, show_json, show_rows
from midgate.reading import header_texts, last_records, reading
from midgate.restricted import HIDDEN, NO_LOOK, Look, Reveal, Why, look
from midgate.rights_session import Actor
from streams.errors import InputError
from streams.instants import format_instant
from streams.topics import is_tenant_id

COLUMNS = ["received", "event_time", "event", "barcode", "facility", "grant", "position"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("tail")(tail)


def shown_record(record: Any, looked: Look = NO_LOOK) -> dict[str, Any]:
    """A tenant record decoded: the event, its headers, where it stands.

    Personal data, and bytes that may hold some, are hidden unless `looked` says otherwise.
    """
    from schemas.codec import MalformedRecordError, UnknownFrameError, decode

    headers = header_texts(record)
    row: dict[str, Any] = {
        "received": format_instant(record.timestamp),
        "position": f"{record.partition}:{record.offset}",
        "key": (record.key or b"").decode("utf-8", "replace"),
        "headers": headers,
        "grant": headers.get("mg-grant", ""),
    }
    try:
        _, event = decode(record.value or b"")
    except (MalformedRecordError, UnknownFrameError) as error:
        value = (record.value or b"").hex() if looked.reveal else HIDDEN
        return {**row, "error": str(error), "value": value}
    basis = event["time_basis"]
    return {
        **row,
        "event_time": format_instant(event["event_time"]).rstrip("Z" if basis != "UTC" else "")
        + ("" if basis == "UTC" else f" ({basis.lower()})"),
        "event": f"{event['event_code']} {event['event_name']}".strip(),
        "barcode": event["barcode"],
        "facility": f"{event['facility_zip']} {event['facility_name']}".strip(),
        "record": looked.event(event),
    }


def tail(
    context: typer.Context,
    tenant: Annotated[str, typer.Option(help="whose topic")],
    count: Annotated[int, typer.Option("-n", min=0, max=10_000, help="so many events")] = 10,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="go on until Ctrl-C")] = False,
    reveal: Reveal = False,
    reason: Why = "",
    actor: Actor = "",
    output: Output = Format.TABLE,
) -> None:
    """Show the last events of a tenant's topic, decoded, as the tenant's own consumer gets them.

    Read `read_committed`. With --follow, JSON comes as one object a line. Recipients' names and
    firms, where the tenant has them, are hidden; --reveal shows them (in JSON) and is recorded.
    """
    effective = settings(context)
    if not is_tenant_id(tenant):
        raise InputError(f"{tenant} is no tenant id", hint="`midgate tenant list` shows all")
    topic = effective.layout.topics.tenant(tenant)
    looked = look(reveal, actor, reason, f"tail --tenant {tenant}")

    async def shown(records: list[Any]) -> list[dict[str, Any]]:
        await looked.record(effective, topic, records)
        return [shown_record(one, looked) for one in records]

    async def work() -> None:
        async with reading(effective.kafka) as consumer:
            rows = await shown(await last_records(consumer, topic, count))
            if output is Format.TABLE or not follow:
                show_rows("events", rows, output, columns=COLUMNS, empty=f"{topic} is empty")
            else:
                _stream(rows)
            while follow:
                batches = await consumer.getmany(timeout_ms=500)
                fresh = await shown([one for batch in batches.values() for one in batch])
                if output is Format.JSON:
                    _stream(fresh)
                else:
                    _lines(fresh)

    try:
        asyncio.run(work())
    except KeyboardInterrupt:
        note("")


def _stream(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        show_json(row, lines=True)


def _lines(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        typer.echo("  ".join(str(row.get(column) or "-") for column in COLUMNS))
