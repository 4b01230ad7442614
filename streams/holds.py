"""[core] Events that wait for their label: which, until when, and what became of them.

The record of `<prefix>.holds`, in the partition of the raw record. Key: PIC, `/`, raw offset; so
compaction keeps what is held and takes what has ended. Value and timestamp: the raw record's.
Headers: the raw record's, then `mg-hold`: raw offset, deadline (Unix ms), the raw record's key in
hex, and the tenants that wait, joined by `/` (none: nobody has had the event yet). A null ends it.

State changes only by `HoldBook.apply`, after the transaction that holds the same changes is
committed.
"""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from streams.raw_record import RawRecord
from streams.record_format import Header, OutRecord

HOLD_HEADER = "mg-hold"
# What an event costs in memory beyond its bytes: tuples, keys, places in the tables.
OVERHEAD_BYTES = 600


class Held(NamedTuple):
    """An event that waits. `awaits`: the tenants that wait for the label; empty: everybody."""

    pic: bytes
    record: RawRecord
    until_ms: int
    awaits: tuple[str, ...] = ()

    @property
    def place(self) -> "Place":
        """Partition and offset of the raw record: what names it."""
        return self.record.partition, self.record.offset


Place = tuple[int, int]
Number = tuple[int, bytes]
"""A PIC in a partition."""


@dataclass(slots=True)
class HoldChanges:
    """What one batch does to the holds, all in its transaction.

    `decided`: decided anew, whatever came out, in this order; `given_up`: at their deadline;
    `added`; `unheld`: events that need a label and found no room, which are withheld for good.
    """

    decided: list[Held] = field(default_factory=list)
    given_up: list[Held] = field(default_factory=list)
    added: list[Held] = field(default_factory=list)
    unheld: list[Place] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.decided or self.given_up or self.added or self.unheld)

    @property
    def ended(self) -> int:
        """How many events wait no longer."""
        return len(self.decided) + len(self.given_up)

    def partitions(self) -> set[int]:
        """Partitions whose held events were decided or given up, or found no room."""
        places = [held.place for held in (*self.decided, *self.given_up)]
        return {partition for partition, _ in (*places, *self.unheld)}

    def records(self) -> dict[int, list[OutRecord]]:
        """Records for the holds topic, by partition."""
        out: dict[int, list[OutRecord]] = {}
        for held in (*self.decided, *self.given_up):
            ended: OutRecord = (hold_key(held), None, held.record.timestamp, [])
            out.setdefault(held.record.partition, []).append(ended)
        for held in self.added:
            out.setdefault(held.record.partition, []).append(hold_record(held))
        return out


def hold_key(held: Held) -> bytes:
    """Key of a hold: one event, whatever else is held of its number."""
    return b"%b/%d" % (held.pic, held.record.offset)


def hold_record(held: Held) -> OutRecord:
    """The record that says that the event is held."""
    _, offset, timestamp, key, value, headers = held.record
    hidden = "-" if key is None else key.hex()
    about = f"{offset}/{held.until_ms}/{hidden}/{'/'.join(held.awaits)}"
    return hold_key(held), value, timestamp, [*headers, (HOLD_HEADER, about.encode())]


def hold_bytes(held: Held) -> int:
    """What a held event costs in memory, and no less than what its record costs to write."""
    record = held.record
    headers = sum(len(name) * 4 + len(value or b"") for name, value in record.headers)
    return OVERHEAD_BYTES + len(record.value or b"") + 2 * len(record.key or b"") + headers


def read_hold(
    partition: int,
    key: bytes,
    value: bytes | None,
    timestamp: int,
    headers: Sequence[Header],
) -> Held:
    """What `hold_record` wrote. ValueError for anything else: nothing else may stand there."""
    pic = key.rpartition(b"/")[0]
    if not headers or headers[-1][0] != HOLD_HEADER:
        raise ValueError("no hold: the header mg-hold is missing")
    offset, until_ms, hidden, *awaits = (headers[-1][1] or b"").decode("ascii").split("/")
    raw_key = None if hidden == "-" else bytes.fromhex(hidden)
    raw = RawRecord(partition, int(offset), timestamp, raw_key, value, tuple(headers[:-1]))
    held = Held(pic, raw, int(until_ms), tuple(name for name in awaits if name))
    if hold_key(held) != key:
        raise ValueError("no hold: key and header name different events")
    return held


class HoldBook:
    """Everything that a lane holds, within bounds, by number and by deadline."""

    def __init__(self, *, events_max: int, bytes_max: int) -> None:
        self._events_max = events_max
        self._bytes_max = bytes_max
        self._numbers: dict[Number, dict[int, Held]] = {}
        self._deadlines: list[tuple[int, Place, bytes]] = []
        self.events = 0
        self.bytes = 0

    def clear(self) -> None:
        """Forget everything, before it is read again."""
        self._numbers.clear()
        self._deadlines.clear()
        self.events = self.bytes = 0

    def room(self) -> "Room":
        """How much more may be held, for one batch to use up."""
        return Room(self._events_max - self.events, self._bytes_max - self.bytes)

    def numbers(self) -> Iterator[Number]:
        """Every number of which something is held."""
        return iter(list(self._numbers))

    def of(self, number: Number) -> list[Held]:
        """What is held of a number, in order of raw offset."""
        held = self._numbers.get(number, {})
        return [held[offset] for offset in sorted(held)]

    def next_deadline_ms(self) -> int | None:
        """When the next event is to be given up."""
        self._drop_ended()
        return self._deadlines[0][0] if self._deadlines else None

    def overdue(self, now_ms: int, events_max: int) -> list[Held]:
        """Events whose deadline is reached, the oldest first, at most so many."""
        found: list[Held] = []
        while len(found) < events_max and (until_ms := self.next_deadline_ms()) is not None:
            if until_ms > now_ms:
                break
            _, (partition, offset), pic = heapq.heappop(self._deadlines)
            found.append(self._numbers[partition, pic][offset])
        # They stay held until the batch that gives them up is committed.
        for held in found:
            heapq.heappush(self._deadlines, (held.until_ms, held.place, held.pic))
        return found

    def apply(self, changes: HoldChanges) -> None:
        """Take over what a committed batch did."""
        for held in (*changes.decided, *changes.given_up):
            self._remove(held)
        self.load(changes.added)

    def load(self, events: Iterable[Held]) -> None:
        """Hold these, whatever the bounds: they are held already."""
        for held in events:
            number = held.record.partition, held.pic
            of_number = self._numbers.setdefault(number, {})
            if held.record.offset not in of_number:
                of_number[held.record.offset] = held
                self.events += 1
                self.bytes += hold_bytes(held)
                heapq.heappush(self._deadlines, (held.until_ms, held.place, held.pic))

    def _remove(self, held: Held) -> None:
        number = held.record.partition, held.pic
        of_number = self._numbers.get(number, {})
        if of_number.pop(held.record.offset, None) is None:
            return
        self.events -= 1
        self.bytes -= hold_bytes(held)
        if not of_number:
            del self._numbers[number]

    def _drop_ended(self) -> None:
        """The table of deadlines keeps what has ended until it comes first, or is most of it."""
        if len(self._deadlines) > 2 * self.events + 1_000:
            self._deadlines = [
                (held.until_ms, held.place, held.pic)
                for of_number in self._numbers.values()
                for held in of_number.values()
            ]
            heapq.heapify(self._deadlines)
        while self._deadlines:
            _, (partition, offset), pic = self._deadlines[0]
            if offset in self._numbers.get((partition, pic), ()):
                return
            heapq.heappop(self._deadlines)


@dataclass(slots=True)
class Room:
    """How much more may be held."""

    events: int
    bytes: int

    def takes(self, held: Held) -> bool:
        """Use up the room for one event; False, and nothing used, when there is none."""
        size = hold_bytes(held)
        if self.events < 1 or self.bytes < size:
            return False
        self.events -= 1
        self.bytes -= size
        return True

    def give_back(self, held: Held) -> None:
        """The event is not held after all."""
        self.events += 1
        self.bytes += hold_bytes(held)
