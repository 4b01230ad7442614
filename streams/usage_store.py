"""First events on disk: one local store a partition, a view of that partition of `<prefix>.usage`.

It is never trusted beyond the topic (`streams/local_store.py`); which fact comes next is written in
one batch with the data, too. First events are most of all events that are looked up: the filters
keep them from costing a look at the disk each.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from streams.local_store import LocalStore, LocalStores

CACHE_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ViewPosition:
    """Up to where the view goes: `usage` in `<prefix>.usage`, `next_fact` in the topic `facts`.

    `usage` -1: nothing was read. `next_fact` -1: no fact was ever metered.
    """

    usage: int = -1
    next_fact: int = -1
    facts: str = ""


class UsageStore:
    """Values of some bytes by key, with the position that belongs to them."""

    def __init__(self, store: LocalStore) -> None:
        self._store = store

    @property
    def position(self) -> ViewPosition:
        """What the view is of."""
        position = self._store.position
        return ViewPosition() if position is None else ViewPosition(**position)

    def find(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Values of many keys at once; sorted ones are found about twice as fast.

        Raises LocalStoreError.
        """
        return self._store.find(keys)

    def write(self, entries: Mapping[bytes, bytes | None], position: ViewPosition) -> None:
        """Set values (None: remove) and the position, all or nothing. Raises LocalStoreError."""
        self._store.write(entries.items(), asdict(position))

    def values(self) -> Iterable[bytes]:
        """Every value."""
        return (value for _, value in self._store.items())

    def close(self) -> None:
        """Give the store back; a temporary one is gone."""
        self._store.close()

    def discard(self) -> None:
        """Throw the store away: it lies ahead of the topic, or is not of it."""
        self._store.discard()


class UsageStores:
    """Where a process keeps its views. Without a folder they live until they are closed."""

    def __init__(self, folder: Path | None) -> None:
        self._stores = LocalStores(folder, kind="usage", cache_bytes=CACHE_BYTES)

    def open(self, name: str, identity: str) -> UsageStore:
        """The store of this name, as far as it is a view of the topic `identity`; else empty.

        Raises what `LocalStores.open` raises.
        """
        return UsageStore(self._stores.open(name, identity))

    def temporary(self, identity: str) -> UsageStore:
        """An empty store that is gone when it is closed."""
        return UsageStore(self._stores.temporary(identity))
