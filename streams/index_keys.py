"""[core] What the index of raw records is asked by, and the keys it keeps.

A raw record is found by its number (PIC) and by its event id. The index keeps, for each, a key and
no value:

    partition (2) | block (4) | kind (1) | hash of the term (5) | place in the block (3)

The key follows from the record's position and content alone, so indexing a record again changes
nothing. A block is 2^21 offsets: what is older than the index keeps is dropped block by block. Five
bytes of hash are not the term: two numbers can share them, so whoever asks reads the record.
"""

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import NamedTuple

from schemas.barcode import judge_number
from schemas.codec import MalformedRecordError, UnknownFrameError
from schemas.event_id import EVENT_ID_BYTES, event_id
from schemas.event_reader import walk_event
from streams.raw_record import RawFields

BLOCK_BITS = 21
BLOCK_OFFSETS = 1 << BLOCK_BITS
KEY_BYTES = 15

_IN_BLOCK = BLOCK_OFFSETS - 1
_HASH_BYTES = 5
_NUMBER, _EVENT = b"n", b"e"


class Term(NamedTuple):
    """What is looked for: a number as its owner is read from it, or an event id."""

    number: bytes = b""
    event: bytes = b""

    def matches(self, record: RawFields) -> bool:
        """Whether the record is one of those looked for."""
        number, event = terms_of(record)
        return event == self.event if self.event else number == self.number

    def may_match(self, record: RawFields) -> bool:
        """Quickly: False only for a record that does not match."""
        return bool(self.event) or self.number in (record[4] or b"") or self.number == record[3]

    @property
    def tail(self) -> bytes:
        """What its keys have between block and place."""
        return _event_tail(self.event) if self.event else _number_tail(self.number)


def number_term(number: bytes) -> Term:
    """All records of one number, with or without its routing part."""
    return Term(number=judge_number(number)[2])


def event_term(text: str) -> Term | None:
    """All records with an `mg-event`, given in hex; None when the text is none."""
    if len(text) != 2 * EVENT_ID_BYTES:
        return None
    try:
        return Term(event=bytes.fromhex(text))
    except ValueError:
        return None


def terms_of(record: RawFields) -> tuple[bytes, bytes]:
    """Number and event id of a raw record; of what cannot be read, its key and nothing."""
    try:
        facts = walk_event(record[4] or b"")
    except (UnknownFrameError, MalformedRecordError):
        return record[3] or b"", b""
    pic = judge_number(facts[0])[2]
    return pic, event_id(pic, facts)


def keys_of(records: Iterable[RawFields]) -> Iterator[bytes]:
    """The index's keys of raw records: two of each that can be read, else one."""
    for record in records:
        number, event = terms_of(record)
        head, place = _head(record), _place(record)
        if number:
            yield head + _number_tail(number) + place
        if event:
            yield head + _event_tail(event) + place


def label_keys_of(records: Iterable[RawFields]) -> Iterator[bytes]:
    """The index's keys of records of the labels topic, whose keys are the numbers."""
    for record in records:
        if record[3]:
            yield _head(record) + _number_tail(record[3]) + _place(record)


def block_of(offset: int) -> int:
    """The block of an offset."""
    return offset >> BLOCK_BITS


def prefix(partition: int, block: int, tail: bytes = b"") -> bytes:
    """What all keys of a block (and of a term in it) begin with."""
    return partition.to_bytes(2, "big") + block.to_bytes(4, "big") + tail


def offset_of(key: bytes) -> int:
    """The raw offset that a key stands for."""
    block = int.from_bytes(key[2:6], "big")
    return (block << BLOCK_BITS) + int.from_bytes(key[-3:], "big")


def _head(record: RawFields) -> bytes:
    return prefix(record[0], record[1] >> BLOCK_BITS)


def _place(record: RawFields) -> bytes:
    return (record[1] & _IN_BLOCK).to_bytes(3, "big")


def _number_tail(number: bytes) -> bytes:
    return _NUMBER + blake2b(number, digest_size=_HASH_BYTES).digest()


def _event_tail(event: bytes) -> bytes:
    return _EVENT + event[:_HASH_BYTES]  # it is a hash already
