"""[core] The labels that a batch of events asks for: found all at once, each read once.

Made for one batch, at one position of the labels. What is looked up ahead is chosen by the records'
keys, which cost nothing to read: a key is the PIC, and one that begins with 92 or 93 names its
owner. Where a producer used another key, the label is looked up when the event needs it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from schemas.piece import NO_IDENTITY, read_piece
from streams.holds import Number
from streams.label_facts import NO_LABEL, Covering, Scan, covering
from streams.packed_labels import covering_one, unpack_entries

Find = Callable[[int, Sequence[bytes]], list[bytes | None]]
"""Packed histories of a partition's PICs; None: no label."""

_NINE: Final = 57
_TWO_OR_THREE: Final = 50


def numbers_asked_for(records: Iterable[tuple[Any, ...]]) -> dict[int, set[bytes]]:
    """By partition, what a batch of raw records will ask for, as far as their keys say.

    Any tuple, as a compiled loop would take `RawFields` apart whole for each record.
    """
    asked: dict[int, set[bytes]] = {}
    for record in records:
        key: bytes | None = record[3]
        if key and not (key[0] == _NINE and len(key) > 1 and key[1] & 0xFE == _TWO_OR_THREE):
            partition: int = record[0]
            pics = asked.get(partition)
            if pics is None:
                pics = asked[partition] = set()
            pics.add(key)
    return asked


def by_partition(numbers: Iterable[Number]) -> dict[int, set[bytes]]:
    """Numbers as `LabelLookup.expect` takes them."""
    pics: dict[int, set[bytes]] = {}
    for partition, pic in numbers:
        pics.setdefault(partition, set()).add(pic)
    return pics


class LabelLookup:
    """Labels at one position. `find` answers from the local store."""

    __slots__ = ("_find", "_known")

    def __init__(self, find: Find) -> None:
        self._find = find
        self._known: dict[int, dict[bytes, bytes | None]] = {}

    def expect(self, numbers: Mapping[int, set[bytes]]) -> None:
        """Look up, at once, the PICs of each partition that will be asked for."""
        for partition, pics in numbers.items():
            self._look_up(partition, sorted(pics))

    def owner(
        self, partition: int, pic: bytes, value: bytes, event_time_ms: int, time_basis: int
    ) -> tuple[bytes, bytes]:
        """MID and label, as the header `mg-label` names it, where that is told without a doubt.

        Two empty texts where it takes `covering` to tell, or there is no label. `value` is a
        well-formed record.
        """
        packed = self._packed(partition, pic)
        if not packed:
            return b"", b""
        mid, label_id = covering_one(packed, event_time_ms, time_basis)
        if not mid or read_piece(value) is not NO_IDENTITY:
            return b"", b""
        return mid, b"0:" + label_id

    def covering(
        self, partition: int, pic: bytes, value: bytes, event_time_ms: int, time_basis: int
    ) -> Covering:
        """The label of a scan, whose well-formed record is `value`."""
        packed = self._packed(partition, pic)
        if packed is None:
            return NO_LABEL
        mailing_date, unique_tracking_id = read_piece(value)
        scan = Scan(event_time_ms, time_basis, mailing_date, unique_tracking_id)
        return covering(unpack_entries(pic, packed), scan)

    def _packed(self, partition: int, pic: bytes) -> bytes | None:
        known = self._known.get(partition)
        if known is None or pic not in known:
            self._look_up(partition, [pic])
            known = self._known[partition]
        return known[pic]

    def _look_up(self, partition: int, pics: list[bytes]) -> None:
        known = self._known.get(partition)
        if known is None:
            known = self._known[partition] = {}
        known.update(zip(pics, self._find(partition, pics), strict=True))
