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

    `explain` on the same machine asks it. It holds MIDGATE_INDEX_HOURS (24) of raw, and all labels,
    in MIDGATE_INDEX_DIR, and no personal data. Stopped, it goes on where it was.
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
    from streams.index_keys import keys_of, label_keys_of
    from streams.raw_indexer import RawIndexer

    names, kafka, hours = effective.layout.topics, effective.kafka, effective.index.index_hours
    raw = RawIndexer(kafka, names.raw, index_folder(effective, names.raw), hours, keys_of)
    # A label counts for scans long after it was made, so of labels all are kept.
    folder = index_folder(effective, names.labels)
    labels = RawIndexer(kafka, names.labels, folder, None, label_keys_of)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for one in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(one, stop.set)
    try:
        await raw.open()
        await labels.open()
        with Progress("indexing raw", unit="records") as progress:
            taken = await raw.catch_up(progress.report, stop.is_set)
        with Progress("indexing labels", unit="records") as progress:
            known = await labels.catch_up(progress.report, stop.is_set)
        if not once and not stop.is_set():
            note(f"{folder.parent} is caught up and follows {names.raw} and {names.labels}")
        while not once and not stop.is_set():
            taken += await raw.step()
            known += await labels.step()
        lag = await raw.lag() + await labels.lag()
        return {"folder": str(folder.parent), "records": taken, "labels": known, "lag": lag}
    finally:
        await raw.close()
        await labels.close()


async def _spans(effective: "Settings") -> list[dict[str, Any]]:
    from streams.raw_index import RawIndex
    from streams.topics_client import TopicsAdmin

    rows: list[dict[str, Any]] = []
    for topic in (effective.layout.topics.raw, effective.layout.topics.labels):
        identity = await asyncio.to_thread(TopicsAdmin(effective.kafka).identity, topic)
        with RawIndex.reading(index_folder(effective, topic), identity) as found:
            spans = {} if found is None else found.spans
            rows += [
                {
                    "topic": topic,
                    "partition": number,
                    "first": span.first,
                    "position": span.position,
                }
                for number, span in sorted(spans.items())
            ]
    return rows


def index_folder(effective: "Settings", topic: str) -> Path:
    """Where the index of a topic lies."""
    from midgate.rights_session import default_snapshot_dir

    root = effective.index.index_dir or default_snapshot_dir().parent / "index"
    return root / topic
