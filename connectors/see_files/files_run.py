"""Ingest files one after the other; what is wrong with one does not stop the others."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from connectors.see_files.file_check import FileFacts
from connectors.see_files.file_progress import Progress
from connectors.see_files.ingest import FileIngest, IngestDeposedError
from connectors.see_files.limits import IngestLimits
from connectors.see_files.line_reader import LineReader
from connectors.see_files.source_file import FileRefusedError, SourceFile
from streams.errors import InputError, MidgateError
from streams.settings import KafkaSettings, LayoutSettings

INGESTED, REFUSED, FAILED, NOT_BEGUN = "ingested", "refused", "failed", "not_begun"

# Names that writers give to files they have not finished.
UNFINISHED_SUFFIXES = (".tmp", ".part")


class Skipped(NamedTuple):
    """Something in a folder that is not ingested, and why."""

    path: Path
    why: str


@dataclass(frozen=True, slots=True)
class FileResult:
    """What became of one file. Counts are of the whole file, earlier runs included.

    `outcome`: ingested; refused (the file is to blame, the error says how); failed (the broker or
    another ingest); not_begun (a failure before it concerns all files).
    """

    path: Path
    outcome: str
    content_sha256: str = ""
    lines: int = 0
    raw: int = 0
    quarantined: int = 0
    resumed_from: int = 0
    seconds: float = 0.0
    error: MidgateError | None = None


def files_of(paths: Iterable[Path]) -> tuple[list[Path], list[Skipped]]:
    """Files to ingest, in the order given, a folder's in the order of their names; and the rest.

    Hidden and unfinished files of a folder are skipped, and its subfolders. Raises InputError for
    a path that does not exist.
    """
    files: list[Path] = []
    skipped: list[Skipped] = []
    for path in paths:
        if not path.exists():
            raise InputError(f"{path} does not exist", hint="give a file or a folder of files")
        if not path.is_dir():
            files.append(path)
            continue
        for entry in sorted(path.iterdir()):
            why = _why_skipped(entry)
            if why:
                skipped.append(Skipped(entry, why))
            else:
                files.append(entry)
    return files, skipped


def _why_skipped(entry: Path) -> str:
    if entry.name.startswith("."):
        return "hidden"
    if entry.name.endswith(UNFINISHED_SUFFIXES):
        return "unfinished"
    return "a folder" if entry.is_dir() else ""


class FilesRun:
    """Ingests files with one reader. `on_progress` gets path, lines done and lines in all."""

    def __init__(
        self,
        kafka: KafkaSettings,
        layout: LayoutSettings,
        reader: LineReader,
        *,
        by: str,
        limits: IngestLimits | None = None,
        on_progress: Callable[[Path, int, int], None] = lambda _path, _done, _total: None,
    ) -> None:
        self._kafka = kafka
        self._layout = layout
        self._reader = reader
        self._by = by
        self._limits = limits
        self._on_progress = on_progress

    async def ingest_all(self, files: Sequence[Path]) -> list[FileResult]:
        """A result for every file. A failure that is not one file's own ends the run."""
        results: list[FileResult] = []
        is_over = False
        for path in files:
            result = FileResult(path, NOT_BEGUN) if is_over else await self.ingest(path)
            is_over = is_over or _concerns_all(result.error)
            results.append(result)
        return results

    async def ingest(self, path: Path) -> FileResult:
        """Ingest one file; errors that an operator can meet are part of the result."""
        began = time.monotonic()
        seen: list[Progress] = []
        facts = FileFacts("", 0, 0, False)
        try:
            with SourceFile(path) as source:
                facts = source.check()
                total = facts.lines

                def on_progress(progress: Progress) -> None:
                    seen[:] = [progress]
                    self._on_progress(path, progress.lines, total)

                report = await FileIngest(
                    self._kafka,
                    self._layout,
                    source,
                    facts,
                    self._reader,
                    by=self._by,
                    limits=self._limits,
                    on_progress=on_progress,
                ).run()
        except MidgateError as error:
            outcome = REFUSED if isinstance(error, FileRefusedError) else FAILED
            progress = seen[0] if seen else Progress()
            return FileResult(
                path,
                outcome,
                facts.content_sha256,
                *progress,
                seconds=time.monotonic() - began,
                error=error,
            )
        return FileResult(
            path,
            INGESTED,
            facts.content_sha256,
            *report.progress,
            resumed_from=report.resumed_from,
            seconds=time.monotonic() - began,
        )


def exit_code_of(results: Iterable[FileResult]) -> int:
    """0 when all were ingested; a failure's code; else 2 when a file was refused."""
    errors = [result.error for result in results if result.error is not None]
    failures = [error for error in errors if not isinstance(error, FileRefusedError)]
    return (failures or errors)[0].exit_code if errors else 0


def _concerns_all(error: MidgateError | None) -> bool:
    return error is not None and not isinstance(error, FileRefusedError | IngestDeposedError)
