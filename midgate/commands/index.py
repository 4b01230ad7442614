"""`midgate index`: keep the index of raw that makes `explain` quick."""

import asyncio
import contextlib
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from midgate.effective import settings
from midgate.output import Format, Output, Progress, note, show_record, show_rows

if TYPE_CHECKING:
    from streams.settings import Settings


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("index")(index)


def index(
    context: typer.Context,
    once: Annotated[bool, typer.Option("--once", help="end at the present end of raw")] = False,
    show: Annotated[bool, typer.Option("--show", help="only say what is in the index")] = False,
    output: Output = Format.TABLE,
) -> None:
    """Keep an index from numbers and event ids to raw positions, here, until told to stop.

    `explain` on the same machine asks it. It holds MIDGATE_INDEX_HOURS (24) of raw in
    MIDGATE_INDEX_DIR, and no personal data. Stopped, it goes on where it was.
    """
    from midgate.rights_session import say_only_warnings

    say_only_warnings()
    effective = settings(context)
    if show:
        rows = asyncio.run(_spans(effective))
        show_rows("index", rows, output, empty="there is no index here: run `midgate index`")
        return
    with contextlib.suppress(KeyboardInterrupt):
        summary = asyncio.run(_keep(effective, once=once))
        show_record("index", summary, output)


async def _keep(effective: "Settings", *, once: bool) -> dict[str, Any]:
    from streams.raw_indexer import RawIndexer

    folder = index_folder(effective)
    topic = effective.layout.topics.raw
    indexer = RawIndexer(effective.kafka, topic, folder, effective.index.index_hours)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for one in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(one, stop.set)
    await indexer.open()
    try:
        with Progress("indexing raw", unit="records") as progress:
            taken = await indexer.catch_up(progress.report, stop.is_set)
        if not once and not stop.is_set():
            note(f"{folder} is caught up and follows {topic}")
        while not once and not stop.is_set():
            taken += await indexer.step()
        return {"folder": str(folder), "records": taken, "lag": await indexer.lag()}
    finally:
        await indexer.close()


async def _spans(effective: "Settings") -> list[dict[str, Any]]:
    from streams.raw_index import RawIndex
    from streams.topics_client import TopicsAdmin

    topic = effective.layout.topics.raw
    identity = await asyncio.to_thread(TopicsAdmin(effective.kafka).identity, topic)
    with RawIndex.reading(index_folder(effective), identity) as found:
        spans = {} if found is None else found.spans
        return [
            {"partition": number, "first": span.first, "position": span.position}
            for number, span in sorted(spans.items())
        ]


def index_folder(effective: "Settings") -> Path:
    """Where the index of this installation lies."""
    from midgate.rights_session import default_snapshot_dir

    root = effective.index.index_dir or default_snapshot_dir().parent / "index"
    return root / effective.layout.topics.raw
