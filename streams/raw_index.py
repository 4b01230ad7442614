"""The index of raw records on disk: a RocksDB from numbers and event ids to raw positions.

It holds nothing that is not in raw, so it is never trusted: which topic of which cluster it is of,
and from which offset to which each partition is in it, are written in one batch with the keys
(`streams/index_keys.py`). One of another topic, or one that does not open, is thrown away and
built anew. One process writes it; any other reads it as it stands on disk, at the same time.

Bounds: memory is the cache and four write buffers; disk is some 12 MB a million events, for as many
hours as are kept (measured: tests/bench/index_bench.py).
"""

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from rocksdict import (
    AccessType,
    BlockBasedOptions,
    Cache,
    DBCompressionType,
    Options,
    Rdict,
    WriteBatch,
)

from streams.errors import ConfigurationError, MidgateError
from streams.index_keys import Term, block_of, offset_of, prefix

log = structlog.get_logger(__name__)

FORMAT = 1
CACHE_BYTES = 32 * 1024 * 1024
WRITE_BUFFER_BYTES = 32 * 1024 * 1024
WRITE_BUFFERS_MAX = 4
OPEN_FILES_MAX = 256

# Partition 65,535 is none of Kafka's that anybody would make.
_ABOUT = b"\xff\xff about"
# How RocksDB says that this process, or another one, has the database open.
_HELD = ("lock hold by current process", "While lock file")


class RawIndexError(MidgateError):
    """The index cannot be read or written. It holds nothing that cannot be built anew."""


@dataclass(frozen=True, slots=True)
class Span:
    """Offsets of a partition that are in the index: `first` ≤ offset < `position`."""

    first: int
    position: int


class RawIndex:
    """Raw positions by number and by event id. `spans`: what is in it, by partition."""

    def __init__(self, folder: Path, database: Rdict, identity: str) -> None:
        self._folder = folder
        self._database = database
        self._identity = identity
        about = json.loads(database.get(_ABOUT) or b"{}")
        self.is_foreign = bool(about) and (about["identity"], about["format"]) != (identity, FORMAT)
        self.spans: dict[int, Span] = {}
        if about and not self.is_foreign:
            self.spans = {int(number): Span(*span) for number, span in about["spans"].items()}

    @classmethod
    def open(cls, folder: Path, identity: str) -> "RawIndex":
        """The index in a folder, to write it; an empty one where what lies there does not fit.

        Raises ConfigurationError when another process writes it, or the folder cannot be written.
        """
        for attempt in range(2):
            try:
                folder.mkdir(parents=True, exist_ok=True)
                index = cls(folder, Rdict(str(folder), _options()), identity)
                if not index.is_foreign:
                    return index
                log.warning("raw_index_of_another_topic", folder=str(folder))
                index.close()
            except Exception as error:
                if any(words in str(error) for words in _HELD):
                    raise ConfigurationError(
                        f"another process keeps the index {folder}",
                        hint="one `midgate index` is enough; or set another MIDGATE_INDEX_DIR",
                    ) from error
                if attempt:
                    raise _unwritable(folder, error) from error
                log.warning("raw_index_thrown_away", folder=str(folder), problem=str(error))
            shutil.rmtree(folder, ignore_errors=True)
        return cls(folder, Rdict(str(folder), _options()), identity)

    @classmethod
    @contextlib.contextmanager
    def reading(cls, folder: Path, identity: str) -> Iterator["RawIndex | None"]:
        """The index as it stands on disk now; None where there is none that fits."""
        if not (folder / "CURRENT").exists():
            yield None
            return
        with tempfile.TemporaryDirectory(prefix="midgate-index-") as own:
            try:
                # Follows what another process writes, and needs a folder for logs of its own.
                # With all files open at once, as the writer may remove any of them.
                options = _options()
                options.set_max_open_files(-1)
                database = Rdict(str(folder), options, access_type=AccessType.secondary(own))
                database.try_catch_up_with_primary()
                index = cls(folder, database, identity)
            except Exception as error:  # noqa: BLE001  # the library raises nothing narrower
                log.warning("raw_index_unreadable", folder=str(folder), problem=str(error))
                yield None
                return
            try:
                yield None if index.is_foreign or not index.spans else index
            finally:
                index.close()

    def begin(self, spans: Mapping[int, int]) -> None:
        """Set out for partitions that are not in it yet, each from an offset on."""
        fresh = {number: Span(first, first) for number, first in spans.items()}
        self._write(WriteBatch(raw_mode=True), {**fresh, **self.spans})

    def add(self, keys: Iterable[bytes], positions: Mapping[int, int]) -> None:
        """Take in keys of records, and all of their partitions up to `positions`, atomically."""
        batch = WriteBatch(raw_mode=True)
        for key in keys:
            batch.put(key, b"")
        moved = {
            number: Span(self.spans[number].first, position)
            for number, position in positions.items()
        }
        self._write(batch, {**self.spans, **moved})

    def drop_below(self, firsts: Mapping[int, int]) -> bool:
        """Forget blocks that end at or below these offsets; whether there were any."""
        batch = WriteBatch(raw_mode=True)
        spans = dict(self.spans)
        ranges: list[tuple[bytes, bytes]] = []
        for number, first in firsts.items():
            span = spans.get(number)
            if span is None or block_of(min(first, span.position)) <= block_of(span.first):
                continue
            first = min(first, span.position)
            ranges.append((prefix(number, block_of(span.first)), prefix(number, block_of(first))))
            batch.delete_range(*ranges[-1])
            spans[number] = Span(first, span.position)
        if not ranges:
            return False
        self._write(batch, spans)
        for start, end in ranges:
            self._database.compact_range(start, end)
        return True

    def find(self, term: Term) -> list[tuple[int, int]]:
        """Partitions and offsets that may hold the term, in order; each is to be read."""
        found: list[tuple[int, int]] = []
        try:
            entries = self._database.iter()
            for number, span in sorted(self.spans.items()):
                for block in range(block_of(span.first), block_of(span.position) + 1):
                    start = prefix(number, block, term.tail)
                    entries.seek(start)
                    while entries.valid():
                        key: Any = entries.key()
                        if not key.startswith(start):
                            break
                        if span.first <= (offset := offset_of(key)) < span.position:
                            found.append((number, offset))
                        entries.next()
        except Exception as error:
            raise RawIndexError(
                f"the index {self._folder} cannot be read: {error}",
                hint="repeat it, else remove the folder: `midgate index` builds it anew",
            ) from error
        return found

    def close(self) -> None:
        """Give it back."""
        with contextlib.suppress(Exception):
            self._database.close()

    def _write(self, batch: WriteBatch, spans: dict[int, Span]) -> None:
        about = {
            "identity": self._identity,
            "format": FORMAT,
            "spans": {str(number): [one.first, one.position] for number, one in spans.items()},
        }
        batch.put(_ABOUT, json.dumps(about).encode())
        try:
            self._database.write(batch)
        except Exception as error:
            raise RawIndexError(
                f"the index {self._folder} cannot be written: {error}",
                hint="look at the disk; what was not written is read again",
            ) from error
        self.spans = spans


def _options() -> Options:
    table = BlockBasedOptions()
    table.set_block_cache(Cache(CACHE_BYTES))
    table.set_cache_index_and_filter_blocks(True)
    table.set_block_size(16 * 1024)
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_block_based_table_factory(table)
    options.set_write_buffer_size(WRITE_BUFFER_BYTES)
    options.set_max_write_buffer_number(WRITE_BUFFERS_MAX)
    options.set_max_open_files(OPEN_FILES_MAX)
    options.set_compression_type(DBCompressionType.lz4())
    options.set_bottommost_compression_type(DBCompressionType.zstd())
    options.set_keep_log_file_num(1)
    options.set_max_background_jobs(2)
    return options


def _unwritable(folder: Path, error: Exception) -> ConfigurationError:
    return ConfigurationError(
        f"the index {folder} cannot be written: {error}",
        hint="set MIDGATE_INDEX_DIR to a folder of a local disk that this user may write",
    )
