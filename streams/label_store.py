"""Labels on disk: one local store a partition, a copy of what stands in its part of the topic.

What is kept of a label, and never trusted, says `streams/local_store.py`. Indices and filters take
about 2 bytes a label of the cache.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import structlog

from schemas.codec import MalformedRecordError, UnknownFrameError
from streams.errors import SchemaError
from streams.label_history import decode_history
from streams.local_store import LocalStore, LocalStores
from streams.packed_labels import PACKING, pack

log = structlog.get_logger(__name__)

CACHE_BYTES = 128 * 1024 * 1024


class LabelStores:
    """Where a process keeps its label stores. Without a folder they live until they are closed."""

    def __init__(self, folder: Path | None) -> None:
        self._stores = LocalStores(folder, kind="labels", cache_bytes=CACHE_BYTES)

    def open(self, name: str, identity: str) -> "LabelStore":
        """The store of this name, as far as it is of the topic `identity`; else an empty one.

        Raises what `LocalStores.open` raises.
        """
        return LabelStore(self._stores.open(name, f"{identity}/packed {PACKING}"))


class LabelStore:
    """Histories by PIC, packed, and the position in the topic up to which they are known."""

    def __init__(self, store: LocalStore) -> None:
        self._store = store

    @property
    def position(self) -> int:
        """Where the topic goes on; -1 when nothing of it was read."""
        position = self._store.position
        return -1 if position is None else int(position)

    @property
    def is_empty(self) -> bool:
        """Whether nothing that counts is in it: it has to be rebuilt from the topic's start."""
        return self.position < 0

    def find(self, pics: Sequence[bytes]) -> list[bytes | None]:
        """Packed histories (`packed_labels.unpack`) of many PICs at once; None: no label.

        Sorted PICs are found about twice as fast. Raises LocalStoreError.
        """
        return self._store.find(pics)

    def apply(
        self, records: Iterable[tuple[bytes | None, bytes | None]], position: int
    ) -> set[bytes]:
        """Take in key and value of the topic's next records, up to `position`, atomically.

        Answers the PICs whose history changed. A record that is no label of its key has no effect;
        one of an unknown version raises SchemaError. Raises LocalStoreError.
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

        Raises LocalStoreError.
        """
        self._store.write(rows, position)

    def items(self) -> Iterable[tuple[bytes, bytes]]:
        """Every PIC and its packed history, in order of PIC."""
        return self._store.items()

    def close(self) -> None:
        """Give the store back; a temporary one is gone."""
        self._store.close()

    def discard(self) -> None:
        """Throw the store away: it lies ahead of the topic, or is not of it."""
        self._store.discard()


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
