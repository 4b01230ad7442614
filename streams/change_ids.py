"""[core] Every change id ever seen, in about 19 bytes each.

A set of 16-byte strings takes over 100 bytes an entry; a log keeps its ids for ever. Here they
stand end to end in one bytearray for each value of their first 12 bits (ids are random), so a
look-up searches some 250 ids, 4 kB, when there are a million.
"""

from collections.abc import Iterator

ID_BYTES = 16
_SHARDS = 4096


class ChangeIds:
    """A set of change ids that only grows."""

    __slots__ = ("_count", "_shards")

    def __init__(self) -> None:
        self._shards: list[bytearray | None] = [None] * _SHARDS
        self._count = 0

    def add(self, change_id: bytes) -> bool:
        """Remember the id; False when it was known."""
        index = change_id[0] << 4 | change_id[1] >> 4
        shard = self._shards[index]
        if shard is None:
            self._shards[index] = bytearray(change_id)
        elif _holds(shard, change_id):
            return False
        else:
            shard += change_id
        self._count += 1
        return True

    def __contains__(self, change_id: bytes) -> bool:
        shard = self._shards[change_id[0] << 4 | change_id[1] >> 4]
        return shard is not None and _holds(shard, change_id)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[bytes]:
        return (
            bytes(shard[at : at + ID_BYTES])
            for shard in self._shards
            if shard is not None
            for at in range(0, len(shard), ID_BYTES)
        )

    def dump(self) -> bytes:
        """All ids end to end."""
        return b"".join(shard for shard in self._shards if shard is not None)

    @classmethod
    def load(cls, data: bytes) -> "ChangeIds":
        """The set of a `dump`, whatever the order of the ids in it."""
        ids = cls()
        shards = ids._shards
        for at in range(0, len(data), ID_BYTES):
            change_id = data[at : at + ID_BYTES]
            index = change_id[0] << 4 | change_id[1] >> 4
            shard = shards[index]
            if shard is None:
                shards[index] = bytearray(change_id)
            else:
                shard += change_id
        ids._count = len(data) // ID_BYTES
        return ids


def _holds(shard: bytearray, change_id: bytes) -> bool:
    at = shard.find(change_id)
    while at % ID_BYTES:  # across two ids, or -1: 15 of 16
        if at < 0:
            return False
        at = shard.find(change_id, at + 1)
    return True
