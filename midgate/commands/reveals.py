"""`midgate reveals`: who looked at recipients' personal data, and why."""

import asyncio
from typing import Annotated, Any

import typer

from midgate.effective import settings
from midgate.output import Format, Output, show_rows
from midgate.reading import last_records, reading
from streams.instants import format_instant

COLUMNS = ["at", "actor", "reason", "command", "topic", "records"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("reveals")(reveals)


def reveals(
    context: typer.Context,
    count: Annotated[int, typer.Option("-n", min=1, max=100_000, help="the last so many")] = 50,
    output: Output = Format.TABLE,
) -> None:
    """List the newest looks at personal data, by whom and why."""
    effective = settings(context)

    async def work() -> list[dict[str, Any]]:
        async with reading(effective.kafka) as consumer:
            topic = effective.layout.topics.reveals
            return [row_of(record) for record in await last_records(consumer, topic, count)]

    rows = asyncio.run(work())
    show_rows("reveals", rows, output, columns=COLUMNS, empty="nobody has looked")


def row_of(record: Any) -> dict[str, Any]:
    """A look for a listing."""
    from schemas.codec import MalformedRecordError, UnknownFrameError, decode

    row = {
        "at": format_instant(record.timestamp),
        "position": f"{record.partition}:{record.offset}",
    }
    try:
        _, said = decode(record.value or b"")
    except (MalformedRecordError, UnknownFrameError) as error:
        return {**row, "actor": f"unreadable: {error}"}
    positions = said["positions"]
    return {
        **row,
        **{name: said[name] for name in ("actor", "reason", "command", "topic", "positions")},
        "reveal_id": said["reveal_id"].hex(),
        "records": len(positions) if len(positions) > 1 else positions[0],
    }
