"""Labels on disk: one RocksDB a partition, a copy of what stands in its part of `<prefix>.labels`.

It holds no decision and nothing that is not in the topic, so it is never trusted: the position up
to which the topic was read, and which topic of which cluster that was, are written in one batch
with the data. A store of another topic, one that lies ahead of the topic, one that does not open or
whose blocks fail their checksums is thrown away and rebuilt from the topic. After a crash RocksDB
goes back to a point in time; that is a lower position with the data of that position.

One process at a time has a store. Where another one holds it (a frozen worker that was deposed),
the next free copy is taken or made, so that nobody waits for a process that may never wake.
"""

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import structlog
from rocksdict import (
    BlockBasedOptions,
    Cache,
    DBCompressionType,
    Options,
    Rdict,
    WriteBatch,
)

from schemas.codec import MalformedRecordError, UnknownFrameError
from streams.errors import ConfigurationError, MidgateError, SchemaError
from streams.label_history import decode_history, pack

log = structlog.get_logger(__name__)

FORMAT = 1
# Shared by all stores of a process: data blocks, and indices and filters (about 2 bytes a label).
CACHE_BYTES = 128 * 1024 * 1024
WRITE_BUFFER_BYTES = 8 * 1024 * 1024
BLOOM_BITS = 10
OPEN_FILES_MAX = 128
# Copies of one partition's store: ours, and those of processes that hold theirs.
COPIES_MAX = 8

_ABOUT = b"\0about"
# How RocksDB says that this process, or another one, has the database open.
_HELD = ("lock hold by current process", "While lock file")


class LabelStoreError(MidgateError):
    """The store cannot be read or written. It has been thrown away; the next one is rebuilt."""


class LabelStores:
    """Where a process keeps its stores. Without a folder they live until they are closed."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._cache = Cache(CACHE_BYTES)

    def open(self, name: str, identity: str) -> "LabelStore":
        """The store of this name, as far as it is of the topic `identity`; else an empty one.

        Raises ConfigurationError when the folder cannot be written, or all copies are in use.
        """
        if self._folder is None:
            folder = Path(tempfile.mkdtemp(prefix="midgate-labels-"))
            return LabelStore(folder, _open(folder, self._cache), identity, is_temporary=True)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unwritable(self._folder, error) from error
        for copy in range(COPIES_MAX):
            folder = self._folder / (f"{name}.{copy}" if copy else name)
            database = self._open_copy(folder)
            if database is not None:
                store = LabelStore(folder, database, identity)
                if not store.is_foreign:
                    return store
                log.warning("label_store_of_another_topic", folder=str(folder))
                store.discard()
                return LabelStore(folder, _open(folder, self._cache), identity)
        raise ConfigurationError(
            f"all {COPIES_MAX} copies of {self._folder / name} are in use",
            hint="end the workers that nobody needs any more, or set another MIDGATE_DATA_DIR",
        )

    def _open_copy(self, folder: Path) -> Rdict | None:
        """The database in a folder; None when another process has it."""
        try:
            return _open(folder, self._cache)
        except Exception as error:  # noqa: BLE001  # the library raises nothing narrower
            if any(words in str(error) for words in _HELD):
                return None
            log.warning("label_store_thrown_away", folder=str(folder), problem=str(error))
        try:
            _remove(folder)
            return _open(folder, self._cache)
        except Exception as error:
            raise _unwritable(folder, error) from error


class LabelStore:
    """Histories by PIC, packed, and the position in the topic up to which they are known."""

    def __init__(
        self, folder: Path, database: Rdict, identity: str, *, is_temporary: bool = False
    ) -> None:
        self._folder = folder
        self._database = database
        self._identity = identity
        self._is_temporary = is_temporary
        self.position = -1
        try:
            about = json.loads(database.get(_ABOUT) or b"{}")
        except Exception as error:
            raise self._lose(error) from error
        self.is_foreign = bool(about) and (about["identity"], about["format"]) != (identity, FORMAT)
        if about and not self.is_foreign:
            self.position = int(about["position"])

    @property
    def is_empty(self) -> bool:
        """Whether nothing that counts is in it: it has to be rebuilt from the topic's start."""
        return self.position < 0

    def find(self, pics: Sequence[bytes]) -> list[bytes | None]:
        """Packed histories (`label_history.unpack`) of many PICs at once; None: no label.

        Sorted PICs are found about twice as fast. Raises LabelStoreError.
        """
        try:
            found: Any = self._database.get(list(pics)) if pics else []
        except Exception as error:
            raise self._lose(error) from error
        return list(found)

    def apply(
        self, records: Iterable[tuple[bytes | None, bytes | None]], position: int
    ) -> set[bytes]:
        """Take in key and value of the topic's next records, up to `position`, atomically.

        Answers the PICs whose history changed. A record that is no label of its key has no effect;
        one of an unknown version raises SchemaError. Raises LabelStoreError.
        """
        rows: list[tuple[bytes, bytes | None]] = []
        for key, value in records:
            if key and key.isalnum():
                packed = _packed(key, value)
                if packed != b"":
                    rows.append((key, packed))
        self.put(rows, position)
        return {key for key, _ in rows}

    def put(self, rows: Iterable[tuple[bytes, bytes | None]], position: int) -> None:
        """Write packed histories by PIC (None: there is none), and the position, atomically.

        Raises LabelStoreError.
        """
        batch = WriteBatch(raw_mode=True)
        for pic, packed in rows:
            if packed is None:
                batch.delete(pic)
            else:
                batch.put(pic, packed)
        about = {"identity": self._identity, "format": FORMAT, "position": position}
        batch.put(_ABOUT, json.dumps(about).encode())
        try:
            self._database.write(batch)
        except Exception as error:
            raise self._lose(error) from error
        self.position = position

    def items(self) -> Iterable[tuple[bytes, bytes]]:
        """Every PIC and its packed history, in order of PIC."""
        entries: Any = self._database.items()
        for key, value in entries:
            if key != _ABOUT:
                yield key, value

    def close(self) -> None:
        """Give the store back; a temporary one is gone."""
        with contextlib.suppress(Exception):
            self._database.close()
        if self._is_temporary:
            _remove(self._folder)

    def discard(self) -> None:
        """Throw the store away: it lies ahead of the topic, or is not of it."""
        with contextlib.suppress(Exception):
            self._database.close()
        _remove(self._folder)

    def _lose(self, error: Exception) -> LabelStoreError:
        self.discard()
        return LabelStoreError(
            f"the label store {self._folder} failed and was thrown away: {error}",
            hint="it is rebuilt from the topic; look at the disk if it happens again",
        )


def _packed(key: bytes, value: bytes | None) -> bytes | None:
    """What the store keeps; None: the history is gone; empty: the record has no effect."""
    if value is None:
        return None
    try:
        pic = key.decode("ascii")
        labels = decode_history(pic, value)
    except UnknownFrameError as error:
        raise SchemaError(
            f"a label of {key.decode('ascii', 'replace')} has a format of a newer version: {error}",
            hint="upgrade this worker",
        ) from error
    except (MalformedRecordError, UnicodeDecodeError) as error:
        log.error("label_without_effect", key=key.decode("ascii", "replace"), problem=str(error))
        return b""
    return pack(pic, labels) if labels else None


def _open(folder: Path, cache: Cache) -> Rdict:
    table = BlockBasedOptions()
    table.set_block_cache(cache)
    table.set_cache_index_and_filter_blocks(True)
    table.set_bloom_filter(BLOOM_BITS, False)
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_block_based_table_factory(table)
    options.set_write_buffer_size(WRITE_BUFFER_BYTES)
    options.set_max_write_buffer_number(2)
    options.set_max_open_files(OPEN_FILES_MAX)
    options.set_compression_type(DBCompressionType.lz4())
    options.set_keep_log_file_num(1)
    options.set_max_background_jobs(2)
    return Rdict(str(folder), options)


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def _unwritable(folder: Path, error: Exception) -> ConfigurationError:
    return ConfigurationError(
        f"the label store {folder} cannot be written: {error}",
        hint="set MIDGATE_DATA_DIR to a folder of a local disk that this user may write",
    )
