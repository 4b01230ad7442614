"""`midgate up` and `midgate down`: the local broker."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from midgate.effective import settings
from midgate.output import Format, Output, Progress, Yes, confirm, note, show_record
from midgate.rights_session import say_only_warnings

Folder = Annotated[
    Path, typer.Option("--dir", help="folder of the broker's data and log", file_okay=False)
]
DEFAULT_FOLDER = Path(".midgate/kafka")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("up")(up)
    app.command("down")(down)


def up(
    context: typer.Context,
    folder: Folder = DEFAULT_FOLDER,
    port: Annotated[
        int | None, typer.Option(min=1, max=65_535, help="port; by default the system gives one")
    ] = None,
    output: Output = Format.TABLE,
) -> None:
    """Start a local Kafka, make the topics, and leave the address in ./.midgate/bootstrap.

    Returns when the broker is ready. The first time it fetches Kafka (40 MB) into the cache
    folder (~/.cache/midgate, or MIDGATE_CACHE). A second `up` finds the broker running.
    """
    from deploy.local_kafka.broker import LocalKafka
    from streams.topics_admin import apply_topics

    say_only_warnings()
    broker = LocalKafka(folder, port, jvm_heap="1g")
    was_running = broker.running is not None
    if not was_running:
        note("starting Kafka")
    with Progress("fetching Kafka", unit="bytes") as progress:
        bootstrap = broker.start(report=progress.report)
    write_bootstrap(bootstrap)
    effective = settings(context)
    kafka = effective.kafka.model_copy(update={"bootstrap": bootstrap})
    asyncio.run(apply_topics(kafka, effective.layout))
    running = broker.running
    note("already running" if was_running else "ready")
    show_record(
        "broker",
        {
            "bootstrap": bootstrap,
            "pid": running.pid if running else None,
            "folder": str(broker.folder),
            "started": not was_running,
        },
        output,
    )


def down(
    folder: Folder = DEFAULT_FOLDER,
    purge: Annotated[bool, typer.Option("--purge", help="remove its data as well")] = False,
    yes: Yes = False,
    output: Output = Format.TABLE,
) -> None:
    """Stop the local Kafka; its data stays for the next `up` unless --purge is given."""
    from deploy.local_kafka.broker import LocalKafka

    broker = LocalKafka(folder)
    if purge:
        confirm(f"Remove all data in {broker.folder}?", yes=yes)
    stopped = broker.stop()
    if purge:
        broker.purge()
    forget_bootstrap()
    note("stopped" if stopped else "nothing was running")
    show_record(
        "broker", {"folder": str(broker.folder), "stopped": stopped, "purged": purge}, output
    )


def write_bootstrap(bootstrap: str) -> None:
    """Leave the address where the other commands look for it."""
    from deploy.local_kafka.errors import LocalKafkaError
    from streams.settings import bootstrap_file

    path = bootstrap_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(bootstrap + "\n")
    except OSError as error:
        raise LocalKafkaError(
            f"the broker runs at {bootstrap}, but {path} cannot be written: {error.strerror}",
            hint="call it in a folder you may write to, or set MIDGATE_BOOTSTRAP yourself",
        ) from error


def forget_bootstrap() -> None:
    """Nobody answers there any more."""
    from streams.settings import bootstrap_file

    bootstrap_file().unlink(missing_ok=True)
