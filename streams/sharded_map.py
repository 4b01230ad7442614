"""[core] A mapping that can be frozen at any time, cheaply, while it goes on changing.

The entries are spread over shards, each a dict. Freezing hands out the shards as they are; the
first write to a shard after a freeze copies that shard, not the map. With 1,000,000 entries in
1,024 shards a freeze costs 1,024 references (microseconds), and each change after it at most one
copy of about 1,000 entries (some 10 µs) for each shard it is the first to touch.
"""

from collections.abc import Iterator, Mapping
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")

SHARDS_MANY = 1024
SHARDS_FEW = 16


class FrozenMap(Mapping[K, V]):
    """Reads of a sharded map. One that `ShardedMap.freeze` returned never changes."""

    __slots__ = ("_mask", "_shards")

    def __init__(self, shards: list[dict[K, V]]) -> None:
        self._shards = shards
        self._mask = len(shards) - 1

    @property
    def shards(self) -> list[dict[K, V]]:
        """The dicts; a key is in the one numbered `hash(key) & (len(shards) - 1)`."""
        return self._shards

    def __getitem__(self, key: K) -> V:
        return self._shards[hash(key) & self._mask][key]

    def find(self, key: K) -> V | None:
        """The value, or None. (`get` of Mapping works, at three times the price.)"""
        return self._shards[hash(key) & self._mask].get(key)

    def __contains__(self, key: object) -> bool:
        return key in self._shards[hash(key) & self._mask]

    def __iter__(self) -> Iterator[K]:
        for shard in self._shards:
            yield from shard

    def __len__(self) -> int:
        return sum(map(len, self._shards))


class ShardedMap(FrozenMap[K, V]):
    """The one that changes. `shards` is a power of two."""

    __slots__ = ("_frozen", "_shared")

    def __init__(self, shards: int = SHARDS_MANY) -> None:
        assert shards & (shards - 1) == 0, "shards are chosen by a mask"
        super().__init__([{} for _ in range(shards)])
        self._shared = bytearray(shards)
        self._frozen: FrozenMap[K, V] | None = None

    def __setitem__(self, key: K, value: V) -> None:
        self._own(hash(key) & self._mask)[key] = value

    def discard(self, key: K) -> None:
        """Remove the key if it is there."""
        index = hash(key) & self._mask
        if key in self._shards[index]:
            del self._own(index)[key]

    def part(self, key: K) -> None:
        """Remove the key, and share its shard with no frozen map any more, be it there or not.

        For maps whose frozen copies are still written to (`streams/rights_snapshot.py`).
        """
        self._own(hash(key) & self._mask).pop(key, None)

    def clear(self) -> None:
        """Remove everything; what was frozen keeps it."""
        for index in range(len(self._shards)):
            self._shards[index] = {}
        self._shared = bytearray(len(self._shards))
        self._frozen = None

    def freeze(self) -> FrozenMap[K, V]:
        """The map as it stands now; the same object until something changes."""
        if self._frozen is None:
            self._frozen = FrozenMap(self._shards.copy())
            self._shared = bytearray(b"\1" * len(self._shards))
        return self._frozen

    def _own(self, index: int) -> dict[K, V]:
        self._frozen = None
        shard = self._shards[index]
        if self._shared[index]:
            shard = self._shards[index] = shard.copy()
            self._shared[index] = 0
        return shard
