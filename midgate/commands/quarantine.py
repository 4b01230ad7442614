"""`midgate quarantine list|show`."""

import asyncio
import hashlib
from collections import Counter
from typing import Annotated, Any

import typer

from midgate.effective import settings
from midgate.output import Format, Output, note, show_record, show_rows
from midgate.reading import header_texts, last_records, one_record, position_of, reading
from midgate.restricted import HIDDEN, Look, Reveal, Why, look
from midgate.rights_session import Actor
from streams.errors import InputError
from streams.instants import format_instant

EVENT = "tracking_event"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="Events that could not be decided.")
    group.command("list")(list_)
    group.command("show")(show)
    app.add_typer(group, name="quarantine")


def row_of(record: Any) -> dict[str, Any]:
    """A quarantined record for a listing."""
    headers = header_texts(record)
    return {
        "position": f"{record.partition}:{record.offset}",
        "received": format_instant(record.timestamp),
        "reason": headers.pop("mg-reason", ""),
        "origin": headers.pop("mg-origin", ""),
        "key": (record.key or b"").decode("utf-8", "replace"),
        "headers": headers,
    }


def list_(
    context: typer.Context,
    count: Annotated[int, typer.Option("-n", min=1, max=100_000, help="the last so many")] = 50,
    reason: Annotated[str, typer.Option(help="only with this reason")] = "",
    output: Output = Format.TABLE,
) -> None:
    """List the newest records in quarantine, with their reasons."""
    effective = settings(context)

    async def work() -> list[dict[str, Any]]:
        async with reading(effective.kafka) as consumer:
            topic = effective.layout.topics.quarantine
            return [row_of(record) for record in await last_records(consumer, topic, count)]

    rows = [row for row in asyncio.run(work()) if not reason or row["reason"] == reason]
    counts = dict(Counter(row["reason"] for row in rows).most_common())
    columns = ["position", "received", "reason", "origin", "key"]
    show_rows(
        "quarantine",
        rows,
        output,
        columns=columns,
        empty="nothing in quarantine",
        extra={"by_reason": counts},
    )
    if output is Format.TABLE and rows:
        note("  ".join(f"{name}: {number}" for name, number in counts.items()))


def show(
    context: typer.Context,
    position: Annotated[str, typer.Argument(metavar="PARTITION:OFFSET", help="which record")],
    reveal: Reveal = False,
    reason: Why = "",
    actor: Actor = "",
    output: Output = Format.TABLE,
) -> None:
    """Show one record in quarantine: its reason, origin, headers, and what it says.

    Its bytes are as they came and may hold recipients' names anywhere: they are hidden, and of an
    event that can be read the personal part. --reveal shows all of it and is recorded.
    """
    effective = settings(context)
    place = position_of(position)
    if place is None:
        raise InputError(f"{position} is no position", hint="PARTITION:OFFSET, as 0:17")
    topic = effective.layout.topics.quarantine
    looked = look(reveal, actor, reason, f"quarantine show {position}")

    async def work() -> Any:
        found = await one_record(effective.kafka, topic, *place)
        await looked.record(effective, topic, [found])
        return found

    record = asyncio.run(work())
    show_record("quarantine", {**row_of(record), **_content(record, looked)}, output)


def _content(record: Any, looked: Look) -> dict[str, Any]:
    """What may be shown of the bytes."""
    from schemas.codec import MalformedRecordError, UnknownFrameError, decode

    value = bytes(record.value or b"")
    try:
        name, event = decode(value)
    except (MalformedRecordError, UnknownFrameError):
        name, event = "", None
    shown: dict[str, Any] = {
        "size": len(value),
        "sha256": hashlib.sha256(value).hexdigest(),
        "record": looked.event(event) if event is not None and name == EVENT else None,
    }
    if looked.reveal:
        text = value.decode("utf-8", "replace") if value.isascii() and value else None
        return {**shown, "value_hex": value.hex(), "value_text": text}
    return {**shown, "value_hex": HIDDEN, "value_text": HIDDEN}
