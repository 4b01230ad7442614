"""Local stores: one RocksDB a partition of a topic, holding nothing that is not in the topic.

So they are never trusted: which topic of which cluster a store is of, and the position that belongs
to its data, are written in one batch with the data. A store of another topic, one that does not
open or whose blocks fail their checksums is thrown away and made anew from the topic. After a crash
RocksDB goes back to a point in time; that is a lower position with the data of that position.

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
from rocksdict import BlockBasedOptions, Cache, DBCompressionType, Options, Rdict, WriteBatch

from streams.errors import ConfigurationError, MidgateError

log = structlog.get_logger(__name__)

FORMAT = 1
WRITE_BUFFER_BYTES = 8 * 1024 * 1024
# Bits a key: a look-up of a key that is not there rarely costs a look at the disk.
BLOOM_BITS = 10
OPEN_FILES_MAX = 128
# Copies of one store: ours, and those of processes that hold theirs.
COPIES_MAX = 8

_ABOUT = b"\0about"
# How RocksDB says that this process, or another one, has the database open.
_HELD = ("lock hold by current process", "While lock file")


class LocalStoreError(MidgateError):
    """The store cannot be read or written. It has been thrown away; the next one is made anew."""


class LocalStore:
    """Values by key, and the position (plain JSON) that belongs to them; None: nothing is in it."""

    def __init__(self, folder: Path, database: Rdict, identity: str, *, is_temporary: bool) -> None:
        self.folder = folder
        self.position: Any = None
        self._database = database
        self._identity = identity
        self._is_temporary = is_temporary
        try:
            about = json.loads(database.get(_ABOUT) or b"{}")
        except Exception as error:
            raise self._lose(error) from error
        self.is_foreign = bool(about) and (about["identity"], about["format"]) != (identity, FORMAT)
        if about and not self.is_foreign:
            self.position = about["position"]

    def find(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Values of many keys at once; sorted ones are found about twice as fast.

        Raises LocalStoreError.
        """
        try:
            found: Any = self._database.get(list(keys)) if keys else []
        except Exception as error:
            raise self._lose(error) from error
        return list(found)

    def write(self, entries: Iterable[tuple[bytes, bytes | None]], position: Any) -> None:
        """Set values (None: remove) and the position, all or nothing. Raises LocalStoreError."""
        batch = WriteBatch(raw_mode=True)
        for key, value in entries:
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        about = {"identity": self._identity, "format": FORMAT, "position": position}
        batch.put(_ABOUT, json.dumps(about).encode())
        try:
            self._database.write(batch)
        except Exception as error:
            raise self._lose(error) from error
        self.position = position

    def items(self) -> Iterable[tuple[bytes, bytes]]:
        """Every key and value, in order of key."""
        entries: Any = self._database.items()
        return ((key, value) for key, value in entries if key != _ABOUT)

    def close(self) -> None:
        """Give the store back; a temporary one is gone."""
        with contextlib.suppress(Exception):
            self._database.close()
        if self._is_temporary:
            _remove(self.folder)

    def discard(self) -> None:
        """Throw the store away: it lies ahead of the topic, or is not of it."""
        with contextlib.suppress(Exception):
            self._database.close()
        _remove(self.folder)

    def _lose(self, error: Exception) -> LocalStoreError:
        self.discard()
        return LocalStoreError(
            f"the store {self.folder} failed and was thrown away: {error}",
            hint="it is made anew from the topic; look at the disk if it happens again",
        )


class LocalStores:
    """Where a process keeps stores of one kind. Without a folder they live until they are closed.

    `cache_bytes` are shared by all of them: data blocks, indices and filters.
    """

    def __init__(self, folder: Path | None, *, kind: str, cache_bytes: int) -> None:
        self._folder = folder
        self._kind = kind
        self._cache = Cache(cache_bytes)

    def open(self, name: str, identity: str) -> LocalStore:
        """The store of this name, as far as it is of the topic `identity`; else an empty one.

        Raises ConfigurationError when the folder cannot be written, or all copies are in use.
        """
        if self._folder is None:
            return self.temporary(identity)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unwritable(self._folder, error) from error
        for copy in range(COPIES_MAX):
            folder = self._folder / (f"{name}.{copy}" if copy else name)
            database = self._open_copy(folder)
            if database is not None:
                store = LocalStore(folder, database, identity, is_temporary=False)
                if not store.is_foreign:
                    return store
                log.warning("store_of_another_topic", folder=str(folder))
                store.discard()
                fresh = _open(folder, self._cache)
                return LocalStore(folder, fresh, identity, is_temporary=False)
        raise ConfigurationError(
            f"all {COPIES_MAX} copies of {self._folder / name} are in use",
            hint="end the workers that nobody needs any more, or set another MIDGATE_DATA_DIR",
        )

    def temporary(self, identity: str) -> LocalStore:
        """An empty store that is gone when it is closed."""
        folder = Path(tempfile.mkdtemp(prefix=f"midgate-{self._kind}-"))
        return LocalStore(folder, _open(folder, self._cache), identity, is_temporary=True)

    def _open_copy(self, folder: Path) -> Rdict | None:
        """The database in a folder; None when another process has it."""
        try:
            return _open(folder, self._cache)
        except Exception as error:  # noqa: BLE001  # the library raises nothing narrower
            if any(words in str(error) for words in _HELD):
                return None
            log.warning("store_thrown_away", folder=str(folder), problem=str(error))
        try:
            _remove(folder)
            return _open(folder, self._cache)
        except Exception as error:
            raise _unwritable(folder, error) from error


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
        f"the store {folder} cannot be written: {error}",
        hint="set MIDGATE_DATA_DIR to a folder of a local disk that this user may write",
    )
