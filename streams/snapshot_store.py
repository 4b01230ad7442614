"""Local snapshots of the rights on disk, so that a start reads only the tail of the log.

A snapshot is what this machine once read from the log, no more: it is used only if its digest
fits, it is of the log that the broker serves now, and nobody but this user can have written it.
Anything else is put aside with a warning, and the log is read from its beginning. One file a log,
`<prefix>.<log id>.rights`, written beside and renamed, so that it is whole or the one before.
"""

import contextlib
import os
import re
import stat
import tempfile
from pathlib import Path

import structlog

from streams.garbage import collector_off
from streams.rights import Rights

log = structlog.get_logger(__name__)

# A log id comes from outside and becomes a file name.
LOG_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z-]{0,63}")
PRIVATE_FILE, PRIVATE_FOLDER = 0o600, 0o700
OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH


class SnapshotStore:
    """The snapshots of one installation's log in one folder."""

    def __init__(self, folder: Path, prefix: str) -> None:
        self._folder = folder
        self._prefix = prefix

    def path(self, log_id: str) -> Path | None:
        """Where the snapshot of a log lies; None for an id that is no file name."""
        if LOG_ID.fullmatch(log_id) is None:
            return None
        return self._folder / f"{self._prefix}.{log_id}.rights"

    def load(self, log_id: str) -> Rights | None:
        """The verified snapshot of this log, or None. Never raises for a bad file."""
        path = self.path(log_id)
        if path is None:
            return None
        try:
            data = _read_private(path)
        except FileNotFoundError:
            self._warn_of_others(path)
            return None
        except OSError as error:
            log.warning("snapshot_unreadable", path=str(path), error=str(error))
            return None
        try:
            with collector_off():
                rights = Rights.load(data)
        except ValueError as error:
            log.warning("snapshot_damaged", path=str(path), error=str(error))
            return None
        if rights.log_id != log_id:
            log.warning("snapshot_of_another_log", path=str(path), log_id=rights.log_id)
            return None
        return rights

    def save(self, log_id: str, data: bytes) -> bool:
        """Write the dump of some rights; False when the disk refuses, which costs only time."""
        path = self.path(log_id)
        if path is None:
            return False
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=PRIVATE_FOLDER)
            _write_whole(path, data)
        except OSError as error:
            log.warning("snapshot_not_written", path=str(path), error=str(error))
            return False
        return True

    def _warn_of_others(self, path: Path) -> None:
        others = sorted(
            each.name for each in path.parent.glob(f"{self._prefix}.*.rights") if each != path
        )
        if others:
            log.warning("snapshots_of_other_logs_ignored", folder=str(path.parent), files=others)


def _read_private(path: Path) -> bytes:
    """The file's bytes; PermissionError if another user can have written it."""
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        if status.st_uid != os.geteuid() or status.st_mode & OTHERS_MAY_WRITE:
            raise PermissionError(f"others may write {path}, so it proves nothing")
        return file.read()


def _write_whole(path: Path, data: bytes) -> None:
    """Temporary file, fsync, rename, fsync of the folder."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), PRIVATE_FILE)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
