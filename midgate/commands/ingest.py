"""`midgate ingest see`."""

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from midgate.effective import settings
from midgate.output import Format, Output, Progress, note, show_rows

if TYPE_CHECKING:
    from connectors.see_files.files_run import FileResult, Skipped

COLUMNS = ["file", "outcome", "lines", "raw", "quarantined", "lines_per_s", "why"]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="Bring scan files into the stream.")
    group.command("see")(see)
    app.add_typer(group, name="ingest")


def see(
    context: typer.Context,
    paths: Annotated[list[Path], typer.Argument(metavar="FILE|FOLDER…", help="what to ingest")],
    rate: Annotated[
        float | None,
        typer.Option(min=1, help="at most so many lines a second, so that live latency holds"),
    ] = None,
    output: Output = Format.TABLE,
) -> None:
    """Ingest Scan Event Extracts (version 1.5), plain or gzip; each line exactly once.

    A folder's files are taken in the order of their names; hidden ones, *.tmp, *.part and
    subfolders are skipped. Interrupted or killed, the same command goes on where it stopped. A
    file whose content was ingested before is refused, and one file does not stop the others.

    Exit code: 0 all were ingested; 2 a file was refused (empty, cut, another version, ingested
    before …); 4 and others: the broker, see `midgate --help`.
    """
    effective = settings(context)
    # Not above: the table of ZIPs and the Kafka client take a second to import.
    from connectors.see_files.files_run import FilesRun, exit_code_of, files_of
    from connectors.see_files.limits import IngestLimits
    from connectors.see_files.reader_setup import line_reader
    from midgate.rights_session import actor_or_user, say_only_warnings

    files, skipped = files_of(paths)
    for each in skipped:
        note(f"skipped ({each.why}): {each.path}")
    say_only_warnings()
    with Bars() as bars:
        run = FilesRun(
            effective.kafka,
            effective.layout,
            line_reader(),
            by=actor_or_user(""),
            limits=IngestLimits(lines_per_s_max=rate),
            on_progress=bars.report,
        )
        results = asyncio.run(run.ingest_all(files))
    _show(results, skipped, output)
    raise typer.Exit(exit_code_of(results))


class Bars(ExitStack):
    """One progress bar at a time: the next file's ends the last one's."""

    def __init__(self) -> None:
        super().__init__()
        self._path: Path | None = None
        self._bar = Progress("")

    def report(self, path: Path, done: int, total: int) -> None:
        """So many lines of a file are taken in."""
        if path != self._path:
            self.close()
            self._path = path
            self._bar = self.enter_context(Progress(path.name, unit="lines"))
        self._bar.report(done, total)


def row_of(result: "FileResult") -> dict[str, Any]:
    """A file's result for the summary."""
    error = result.error
    new_lines = result.lines - result.resumed_from
    return {
        "file": str(result.path),
        "outcome": result.outcome,
        "lines": result.lines,
        "raw": result.raw,
        "quarantined": result.quarantined,
        "resumed_from": result.resumed_from,
        "seconds": round(result.seconds, 3),
        "lines_per_s": round(new_lines / result.seconds) if result.seconds and new_lines else 0,
        "content_sha256": result.content_sha256,
        "why": str(error).removeprefix(f"{result.path}: ") if error else "",
        "hint": error.hint if error else "",
    }


def _show(results: "Sequence[FileResult]", skipped: "Sequence[Skipped]", output: Format) -> None:
    rows = [row_of(result) for result in results]
    totals = {name: sum(row[name] for row in rows) for name in ("lines", "raw", "quarantined")}
    totals["refused"] = sum(row["outcome"] == "refused" for row in rows)
    totals["failed"] = sum(row["outcome"] in ("failed", "not_begun") for row in rows)
    show_rows(
        "files",
        rows,
        output,
        columns=COLUMNS,
        empty="no file to ingest",
        extra={
            "totals": totals,
            "skipped": [{"file": str(each.path), "why": each.why} for each in skipped],
        },
    )
    if output is Format.JSON:
        return
    for hint in dict.fromkeys(row["hint"] for row in rows if row["hint"]):
        note(f"hint: {hint}")
    if totals["quarantined"]:
        note("`midgate quarantine list` shows the lines that could not be read")
    resumed = sum(row["resumed_from"] for row in rows)
    if resumed:
        note(f"{resumed:,} lines had been taken in by an earlier run and were not taken again")
