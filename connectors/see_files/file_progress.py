"""The records of `<prefix>.files`.

Two kinds, by key. `<content hash>`: progress, an `IngestedFile`, written in the transaction of the
lines it counts. `<content hash>/claim`: a run has started; it has no value, so that compaction
takes it away in the end, and says in its headers who runs and which start it is.
"""

from typing import NamedTuple

from connectors.see_files.batches import Record
from connectors.see_files.file_check import FileFacts
from connectors.see_files.layout import FORMAT
from schemas.codec import decode, encode

RUNNING, DONE = "RUNNING", "DONE"
RUN_HEADER, BY_HEADER, NONCE_HEADER = "mg-run", "mg-by", "mg-nonce"


class Progress(NamedTuple):
    """Lines taken in, by all runs together, and where they went."""

    lines: int = 0
    raw: int = 0
    quarantined: int = 0


class FileProgress(NamedTuple):
    """The newest progress of the file."""

    is_done: bool
    lines: int
    raw: int
    quarantined: int
    run: str
    by: str


def progress_key(content_sha256: str) -> bytes:
    """Key of a file's progress."""
    return content_sha256.encode()


def claim_key(content_sha256: str) -> bytes:
    """Key of the claims on a file; another than that of the progress, which compaction keeps."""
    return f"{content_sha256}/claim".encode()


def progress_record(
    facts: FileFacts,
    state: str,
    progress: Progress,
    *,
    file_name: str,
    run: str,
    by: str,
    now_ms: int,
) -> Record:
    """Progress of a file; goes into the transaction of the lines it counts."""
    value = encode(
        "ingested_file",
        {
            "content_sha256": facts.content_sha256,
            "name": file_name.encode("utf-8", "replace").decode(),
            "size": facts.size,
            "format": FORMAT,
            "state": state,
            "lines_done": progress.lines,
            "raw": progress.raw,
            "quarantined": progress.quarantined,
            "run": run,
            "by": by,
            "updated_at": now_ms,
        },
    )
    return progress_key(facts.content_sha256), value, now_ms, []


def read_progress(value: bytes) -> FileProgress:
    """Progress of a record; ValueError when this version cannot read it."""
    name, content = decode(value)
    if name != "ingested_file" or content["state"] not in (RUNNING, DONE):
        raise ValueError(f"{name} {content.get('state', '')}")
    return FileProgress(
        is_done=content["state"] == DONE,
        lines=content["lines_done"],
        raw=content["raw"],
        quarantined=content["quarantined"],
        run=content["run"],
        by=content["by"],
    )


def claim_record(facts: FileFacts, *, run: str, by: str, nonce: bytes, now_ms: int) -> Record:
    """A run's claim on a file, one a start."""
    headers = [
        (RUN_HEADER, run.encode()),
        (BY_HEADER, by.encode()),
        (NONCE_HEADER, nonce),
    ]
    return claim_key(facts.content_sha256), None, now_ms, headers
