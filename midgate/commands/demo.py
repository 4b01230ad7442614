"""`midgate demo`: see it work, from a scan file to the tenants' topics, and recounted."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import typer

from midgate.effective import options_of, settings
from midgate.output import Format, Output, Progress, note, show_json

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EXIT_DIFFERENT = 7


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo")(demo)


def demo(context: typer.Context, output: Output = Format.TABLE) -> None:
    """Take 50,000 generated scans through a real broker to three tenants, and recount.

    A shipper and a platform get their own, an analytics company whose agreement has ended gets
    nothing; then a grant is revoked in the middle of a second file. Exit code 7 when the
    independent recount finds any difference. Uses a broker of its own in a temporary folder,
    unless --bootstrap is given.
    """
    from midgate.demo.stage import Stage, work_folder
    from midgate.demo.story import play

    given = options_of(context).bootstrap
    effective = settings(context)
    with ExitStack() as stack:
        stack.enter_context(told_to_stop_like_ctrl_c())
        folder = stack.enter_context(work_folder())
        bootstrap = given or stack.enter_context(own_broker(folder))
        # On somebody's broker nothing of theirs is touched.
        prefix = f"demo-{uuid.uuid4().hex[:8]}" if given else effective.layout.prefix
        stage = Stage(
            folder,
            effective.kafka.model_copy(update={"bootstrap": bootstrap}),
            effective.layout.model_copy(update={"prefix": prefix, "app_id": prefix}),
        )
        outcome = asyncio.run(play(stage, effective, lambda text: note(f"… {text}")))
        if output is Format.JSON:
            show_json(outcome.as_json())
        else:
            from midgate.demo.show import show_outcome

            show_outcome(outcome)
        if not outcome.ok:  # within the stack, so that the folder stays to be looked at
            raise typer.Exit(EXIT_DIFFERENT)


@contextmanager
def told_to_stop_like_ctrl_c() -> Iterator[None]:
    """SIGTERM and a closed terminal end it as Ctrl-C does: broker, worker and folder go, too."""
    import signal

    def interrupt(*_: object) -> None:
        signal.raise_signal(signal.SIGINT)

    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def own_broker(folder: Path) -> Iterator[str]:
    """A local Kafka for the demonstration alone."""
    from deploy.local_kafka.broker import LocalKafka

    broker = LocalKafka(folder / "kafka", jvm_heap="1g")
    with Progress("fetching Kafka", unit="bytes") as progress:
        bootstrap = broker.start(report=progress.report)
    note(f"… Kafka is up at {bootstrap}")
    try:
        yield bootstrap
    finally:
        broker.stop()
