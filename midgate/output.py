"""What commands show: data on stdout, everything else on stderr.

Data is a table for people or one JSON object for programs (`--output json`), which always has a
`schema_version`. Progress is a bar on a terminal and a plain line every few seconds elsewhere.
"""

import json
import os
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any, Self, TextIO

import typer

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

SCHEMA_VERSION = 1
PLAIN_PROGRESS_EVERY_S = 5.0


class Format(StrEnum):
    """How data is shown."""

    TABLE = "table"
    JSON = "json"


Output = Annotated[
    Format, typer.Option("--output", "-o", help="table for people, json for programs")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="do not ask")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="show what would be done, do nothing")]


def note(text: str) -> None:
    """A remark for the person, on stderr."""
    typer.echo(text, err=True)


def emphasized(text: str, color: str, stream: TextIO | None = None) -> str:
    """The text in a colour if the stream takes colours, else plain."""
    return typer.style(text, fg=color, bold=True) if takes_color(stream or sys.stderr) else text


def takes_color(stream: TextIO) -> bool:
    """True on a terminal that is neither dumb nor told otherwise (https://no-color.org)."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def show_json(record: Mapping[str, Any], *, lines: bool = False) -> None:
    """One JSON object with `schema_version`, indented, or one to a line for streams."""
    text = json.dumps(
        {"schema_version": SCHEMA_VERSION, **record},
        indent=None if lines else 2,
        ensure_ascii=False,
        default=_plain,
    )
    typer.echo(text)


def show_rows(
    name: str,
    rows: Iterable[Mapping[str, Any]],
    output: Format,
    *,
    columns: Sequence[str] | None = None,
    empty: str = "none",
    extra: Mapping[str, Any] | None = None,
) -> None:
    """A listing: a table of `columns` (all by default), or `{"<name>": [rows], **extra}`.

    The table shows only the columns, JSON every key. `empty` is what a person reads instead of an
    empty table.
    """
    listed = list(rows)
    if output is Format.JSON:
        show_json({name: listed, **(extra or {})})
        return
    if not listed:
        note(empty)
        return
    shown = list(columns or listed[0])
    cells = [[_cell(row.get(column)) for column in shown] for row in listed]
    _print_table(shown, cells)


def show_record(name: str, record: Mapping[str, Any], output: Format) -> None:
    """One thing: its fields below each other, or `{"<name>": {…}}`."""
    if output is Format.JSON:
        show_json({name: record})
        return
    width = max((len(key) for key in record), default=0)
    for key, value in record.items():
        typer.echo(f"{key:<{width}}  {_cell(value)}".rstrip())


def _print_table(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    if not sys.stdout.isatty():
        # For grep and cut: no frame, nothing wrapped or shortened to some width.
        rows = [columns, *cells]
        widths = [max(len(row[i]) for row in rows) for i in range(len(columns))]
        for row in rows:
            line = "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
            typer.echo(line.rstrip())
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in cells:
        table.add_row(*(Text(cell) for cell in row))
    Console(no_color=not takes_color(sys.stdout), highlight=False).print(table)


def _cell(value: Any) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(_cell(item) for item in value) or "-"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={_cell(item)}" for key, item in value.items()) or "-"
    return str(value)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, set | frozenset):
        return sorted(value)
    return str(value)


def confirm(question: str, *, yes: bool) -> None:
    """Go on only after a yes; without a terminal `--yes` is needed. Ends the command otherwise."""
    if yes:
        return
    if not sys.stdin.isatty():
        from streams.errors import InputError

        raise InputError(f"{question} needs an answer", hint="say --yes to go on without asking")
    if not typer.confirm(question, err=True):
        note("nothing was done")
        raise typer.Exit(7)


class Progress:
    """Progress of one piece of work, on stderr. Nothing is shown for work without reports.

    `report(done, total)` may be called from any thread and as often as one likes; total 0 means
    that nobody knows the end.
    """

    def __init__(self, title: str, *, unit: str = "") -> None:
        self._title = title
        self._unit = unit
        self._bar: Bar | None = None
        self._task: Any = None
        self._started = time.monotonic()
        self._said = self._started

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def report(self, done: int, total: int) -> None:
        """So far, and in all."""
        if sys.stderr.isatty():
            self._draw(done, total)
            return
        now = time.monotonic()
        if now - self._said >= PLAIN_PROGRESS_EVERY_S:
            self._said = now
            note(f"{self._title}: {self._words(done, total, now)}")

    def _draw(self, done: int, total: int) -> None:
        if self._bar is None:
            self._bar = _bar(self._unit == "bytes")
            self._task = self._bar.add_task(self._title, total=total or None)
            self._bar.start()
        self._bar.update(self._task, completed=done, total=total or None)
        if total and done >= total:
            self._bar.stop()  # or it would go on turning while the command does the next thing

    def _words(self, done: int, total: int, now: float) -> str:
        rate = done / max(now - self._started, 0.001)
        if self._unit == "bytes":
            return f"{done / 1e6:.1f} of {total / 1e6:.1f} MB ({rate / 1e6:.1f} MB/s)"
        of = f" of {total:,}" if total else ""
        return f"{done:,}{of} {self._unit} ({rate:,.0f}/s)"


def _bar(in_bytes: bool) -> "Bar":
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    counted = [DownloadColumn(), TransferSpeedColumn()] if in_bytes else [MofNCompleteColumn()]
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        *counted,
        TimeRemainingColumn(),
        console=Console(stderr=True, no_color=not takes_color(sys.stderr)),
        transient=True,
    )
