"""`midgate tail`: what a tenant sees."""

import asyncio
from typing import Annotated, Any

import typer

from midgate.effective import settings
from midgate.output import Format, Output, note, show_json, show_rows
from midgate.reading import header_texts, last_records, reading
from streams.errors import InputError
from streams.instants import format_instant
from streams.topics import is_tenant_id

COLUMNS = ["received", "event_time", "event", "barcode", "facility", "grant", "position"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("tail")(tail)


def shown_record(record: Any) -> dict[str, Any]:
    """A tenant record decoded: the event, its headers, where it stands."""
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
        return {**row, "error": str(error), "value": (record.value or b"").hex()}
    basis = event["time_basis"]
    return {
        **row,
        "event_time": format_instant(event["event_time"]).rstrip("Z" if basis != "UTC" else "")
        + ("" if basis == "UTC" else f" ({basis.lower()})"),
        "event": f"{event['event_code']} {event['event_name']}".strip(),
        "barcode": event["barcode"],
        "facility": f"{event['facility_zip']} {event['facility_name']}".strip(),
        "record": event,
    }


def tail(
    context: typer.Context,
    tenant: Annotated[str, typer.Option(help="whose topic")],
    count: Annotated[int, typer.Option("-n", min=0, max=10_000, help="so many events")] = 10,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="go on until Ctrl-C")] = False,
    output: Output = Format.TABLE,
) -> None:
    """Show the last events of a tenant's topic, decoded, as the tenant's own consumer gets them.

    Read `read_committed`. With --follow, JSON comes as one object a line.
    """
    effective = settings(context)
    if not is_tenant_id(tenant):
        raise InputError(f"{tenant} is no tenant id", hint="`midgate tenant list` shows all")
    topic = effective.layout.topics.tenant(tenant)

    async def work() -> None:
        async with reading(effective.kafka) as consumer:
            rows = [shown_record(one) for one in await last_records(consumer, topic, count)]
            if output is Format.TABLE or not follow:
                show_rows("events", rows, output, columns=COLUMNS, empty=f"{topic} is empty")
            else:
                _stream(rows)
            while follow:
                batches = await consumer.getmany(timeout_ms=500)
                fresh = [shown_record(one) for batch in batches.values() for one in batch]
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
