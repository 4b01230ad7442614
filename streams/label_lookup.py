"""[core] The labels that a batch of events asks for: found all at once, each read once.

Made for one batch, at one position of the labels. What is looked up ahead is chosen by the records'
keys, which cost nothing to read: a key is the PIC, and one that begins with 92 or 93 names its
owner. Where a producer used another key, the label is looked up when the event needs it.
"""

from collections.abc import Callable, Iterable, Sequence

from schemas.piece import read_piece
from streams.holds import Number
from streams.label_facts import NO_LABEL, Covering, Scan, covering, covering_one
from streams.label_history import unpack_entries
from streams.raw_record import RawFields

Find = Callable[[int, Sequence[bytes]], list[bytes | None]]
"""Packed histories of a partition's PICs; None: no label."""

_NAMES_OWNER = (b"92", b"93")


def numbers_asked_for(records: Iterable[RawFields]) -> list[Number]:
    """What a batch of raw records will ask for, as far as their keys say."""
    return [
        (record[0], record[3])
        for record in records
        if record[3] and record[3][:2] not in _NAMES_OWNER
    ]


class LabelLookup:
    """Labels at one position. `find` answers from the local store."""

    __slots__ = ("_find", "_known")

    def __init__(self, find: Find) -> None:
        self._find = find
        self._known: dict[tuple[int, bytes], bytes | None] = {}

    def expect(self, numbers: Iterable[Number]) -> None:
        """Look up, at once, what will be asked for."""
        by_partition: dict[int, set[bytes]] = {}
        for partition, pic in numbers:
            by_partition.setdefault(partition, set()).add(pic)
        for partition, keys in by_partition.items():
            pics = sorted(keys)
            for pic, packed in zip(pics, self._find(partition, pics), strict=True):
                self._known[partition, pic] = packed

    def covering(
        self, partition: int, pic: bytes, value: bytes, event_time_ms: int, time_basis: int
    ) -> Covering:
        """The label of a scan, whose well-formed record is `value`."""
        place = partition, pic
        known = self._known
        if place not in known:
            known[place] = self._find(partition, [pic])[0]
        packed = known[place]
        if packed is None:
            return NO_LABEL
        history = unpack_entries(pic, packed)
        mailing_date, unique_tracking_id = read_piece(value)
        if len(history) == 1 and mailing_date is None and not unique_tracking_id:
            return covering_one(history[0], event_time_ms, time_basis)
        scan = Scan(event_time_ms, time_basis, mailing_date, unique_tracking_id)
        return covering(history, scan)
