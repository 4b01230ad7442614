"""A file to ingest, opened once: checked and hashed in a first pass, read in a second one.

Nothing may be ingested of a file that turns out cut, corrupt or of another kind, so the first pass
reads all of it (a gzip file is unpacked to its very end, checksum included). The identity of a
file is the SHA-256 of its bytes as they lie on disk. Both passes use one descriptor, so renaming
or replacing the file does not matter; writing to it is noticed: by size and time of change before
every transaction, and by the hash of the second pass before the last one.
"""

import gzip
import hashlib
import io
import os
import stat
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Self

from connectors.see_files.file_check import GZIP_MAGIC, HEAD_BYTES, FileFacts, problem_of
from streams.errors import InputError

CHUNK_BYTES = 1024 * 1024


class FileRefusedError(InputError):
    """A file that cannot be ingested as a whole; nothing of it was, unless the message says so."""


class SourceFile:
    """Context manager around one descriptor; `check` first, then `chunks`, then `verify`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stamp = (0, 0)
        self._hash = hashlib.sha256()
        self._facts: FileFacts | None = None

    def __enter__(self) -> Self:
        try:
            # A pipe would wait for its writer for ever; opened so, it is found out below.
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
        except OSError as error:
            raise FileRefusedError(
                f"{self.path}: cannot be opened ({error.strerror})",
                hint="check the path and the permissions",
            ) from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise FileRefusedError(
                f"{self.path}: not a regular file",
                hint="a file is read twice; save the stream to a file first",
            )
        self._file = os.fdopen(descriptor, "rb", buffering=0)
        self._stamp = self._stamp_now()
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def check(self, on_bytes: Callable[[int], None] = lambda _: None) -> FileFacts:
        """First pass. `on_bytes` is told how many bytes of the file have been read.

        Raises FileRefusedError for an empty, binary, foreign, cut or corrupt file.
        """
        head = b""
        lines = 0
        last = b""
        for chunk in self._pass(on_bytes):
            if len(head) < HEAD_BYTES:
                head += chunk[: HEAD_BYTES - len(head)]
            lines += chunk.count(b"\n")
            last = chunk[-1:]
        problem = problem_of(head)
        if problem is not None:
            raise FileRefusedError(f"{self.path}: {problem[0]}", hint=problem[1])
        self._facts = FileFacts(
            self._hash.hexdigest(), self._stamp[0], lines + (last != b"\n"), self._packed()
        )
        self.require_unchanged()
        return self._facts

    def chunks(self, on_bytes: Callable[[int], None] = lambda _: None) -> Iterator[bytes]:
        """Second pass: the (unpacked) content, in order; may be begun again from the start."""
        return self._pass(on_bytes)

    def verify(self) -> None:
        """After `chunks` has ended: FileRefusedError unless it gave what `check` had seen."""
        assert self._facts is not None, "check comes first"
        self.require_unchanged()
        if self._hash.hexdigest() != self._facts.content_sha256:
            raise self._changed()

    def require_unchanged(self) -> None:
        """FileRefusedError when size or time of change are not what they were at opening."""
        if self._stamp_now() != self._stamp:
            raise self._changed()

    def _pass(self, on_bytes: Callable[[int], None]) -> Iterator[bytes]:
        self._file.seek(0)
        self._hash = hashlib.sha256()
        hashed = _HashedReader(self._file, self._hash, on_bytes)
        source: BinaryIO | gzip.GzipFile = io.BufferedReader(hashed, CHUNK_BYTES)
        if self._packed():
            source = gzip.GzipFile(fileobj=source)
        try:
            while chunk := source.read(CHUNK_BYTES):
                yield chunk
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            if self._facts is not None:  # it was sound in the first pass
                raise self._changed() from error
            what = "was cut" if isinstance(error, EOFError) else f"is corrupt ({error})"
            raise FileRefusedError(
                f"{self.path}: the gzip file {what}",
                hint="fetch it again; nothing of it was ingested",
            ) from error
        except OSError as error:
            raise FileRefusedError(
                f"{self.path}: reading failed ({error.strerror or error})",
                hint="check the disk, then ingest it again: it goes on where it stopped",
            ) from error

    def _packed(self) -> bool:
        return os.pread(self._file.fileno(), len(GZIP_MAGIC), 0) == GZIP_MAGIC

    def _stamp_now(self) -> tuple[int, int]:
        now = os.fstat(self._file.fileno())
        return now.st_size, now.st_mtime_ns

    def _changed(self) -> FileRefusedError:
        return FileRefusedError(
            f"{self.path}: the file changed while it was being read",
            hint="ingest files that are complete: write under another name, then rename",
        )


class _HashedReader(io.RawIOBase):
    """Hashes every byte that is read through it."""

    def __init__(self, source: io.FileIO, digest: "hashlib._Hash", on_bytes: Callable[[int], None]):
        self._source = source
        self._digest = digest
        self._on_bytes = on_bytes
        self._read = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview") -> int:  # type: ignore[override]
        count = self._source.readinto(buffer) or 0
        self._digest.update(buffer[:count])
        self._read += count
        self._on_bytes(self._read)
        return count
