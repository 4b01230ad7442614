"""[core] Events that wait for their label: what the ledger says became of them, and what must.

Source: docs/authorization-log.md, "Events that wait for their label" and "Ledger".

Everything that waits or has waited is on disk (`auditor/hold_spill.py`): it is needed again for the
second look, and to tell what ended twice. In memory is one count a raw partition.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple, Protocol

from auditor.barcodes import ownership
from auditor.contents import Record
from auditor.findings import FindingKind, Findings, RawPosition
from auditor.labels import Labels
from auditor.ledger import AnewList, Entry, turn_in_raw
from auditor.scan_reader import Scan, read_scan
from schemas.reasons import Reason


class State(IntEnum):
    """What became of an event that needed a label. DUE: covered since; LATE: that was found."""

    WAITING = 0
    DUE = 1
    LATE = 2
    RELEASED = 3
    GIVEN_UP = 4
    NOT_HELD = 5


ENDED = {
    State.RELEASED: "it was decided anew before",
    State.GIVEN_UP: "it was given up before",
    State.NOT_HELD: "it found no room to wait",
}


class Held(NamedTuple):
    """An event that waits or has waited.

    `awaits`: the tenants that wait, none if nobody has had it. `hold_ms`: what its own entry says,
    if `told`; else what the entries before said last, -1 if none did.
    """

    raw: Record
    pic: str
    since: int
    hold_ms: int
    told: bool
    awaits: tuple[str, ...]
    state: State = State.WAITING
    ended_by: int = -1

    def waits_for(self, tenant: str) -> bool:
        """Whether a tenant's delivery comes only when the event is decided anew."""
        return not self.awaits or tenant in self.awaits


class HoldStore(AnewList, Protocol):
    """Where they are kept."""

    def turn(self, partition: int, offset: int) -> int | None:
        """The turn that was noted for an event that is decided anew."""
        ...

    def add(self, held: Held) -> None:
        """A further event."""
        ...

    def find(self, partition: int, offset: int) -> Held | None:
        """The event of a raw position, if it needed a label."""
        ...

    def change(self, partition: int, offset: int, state: State, ended_by: int = -1) -> None:
        """What becomes of it."""
        ...

    def relabelled(self, partition: int, start: int, end: int) -> Iterator[Held]:
        """WAITING and DUE events of numbers with a label record at start ≤ offset < end."""
        ...

    def due(self, partition: int, pic: str = "") -> list[int]:
        """Raw offsets that are DUE, in order; of one number if one is given."""
        ...


@dataclass(slots=True)
class Holds:
    """What waits, as the ledger is gone through entry by entry; findings are about the ledger."""

    store: HoldStore
    labels: Labels
    findings: Findings
    topic: str
    waiting: Counter[int] = field(default_factory=Counter)
    _compared_to: dict[int, int] = field(default_factory=dict)
    _told: dict[int, int] = field(default_factory=dict)
    _not_judged: dict[int, list[tuple[int, int]]] = field(default_factory=dict)

    def turn(self, partition: int, offset: int, tenant: str) -> int:
        """Where a tenant's record of a raw position must stand among the others."""
        anew = self.store.turn(partition, offset)
        if anew is not None:
            held = self.store.find(partition, offset)
            if held is not None and held.waits_for(tenant):
                return anew
        return turn_in_raw(offset)

    def is_waiting(self, partition: int, offset: int) -> bool:
        """Whether the ledger, as far as it can be read, has not ended it."""
        held = self.store.find(partition, offset)
        return held is not None and held.state < State.RELEASED

    def skip(self, entry: Entry, start: int, end: int) -> None:
        """Nothing can be said about what this entry decided."""
        ranges = self._not_judged.setdefault(entry.partition, [])
        if ranges and ranges[-1][1] == start:
            start, _ = ranges.pop()
        ranges.append((start, end))

    def begin(self, entry: Entry) -> None:
        """Go to an entry: what do the labels below its position cover now?"""
        if entry.hold_ms is not None:
            self._told[entry.partition] = entry.hold_ms
        self._compare(entry.partition, entry.label_position)

    def _compare(self, partition: int, position: int) -> None:
        before = self._compared_to.get(partition, 0)
        if position <= before:
            return
        self._compared_to[partition] = position
        if not self.waiting[partition]:
            return
        self.labels.load(partition, position)
        for held in self.store.relabelled(partition, before, position):
            state = State.WAITING if self._needs(held, position) else State.DUE
            self.store.change(partition, held.raw.offset, state)

    def _needs(self, held: Held, position: int) -> bool:
        scan = read_scan(held.raw.value)
        assert isinstance(scan, Scan)  # it was read before it was held
        found = self.labels.covering(held.raw.partition, position, held.pic, scan)
        return found.reason is Reason.LABEL_NEEDED

    def decide_anew(self, entry: Entry, offset: int, judged_from: int) -> Held | None:
        """An event is decided anew by this entry; None if it cannot be, and why is found."""
        held = self._end(entry, offset, judged_from, State.RELEASED, "decided anew")
        if held is None:
            return None
        if self._needs(held, entry.label_position):
            self._say(
                FindingKind.HOLD_STILL_NEEDED,
                entry,
                offset,
                f"decided anew, though no label covers it at position {entry.label_position}",
            )
        for earlier in self.store.due(entry.partition, held.pic):
            if earlier < offset:
                self._overtaken(entry, offset, earlier)
        return held

    def give_up(self, entry: Entry, offset: int, judged_from: int) -> Held | None:
        """An event waits no longer; None if it did not wait."""
        held = self._end(entry, offset, judged_from, State.GIVEN_UP, "given up")
        if held is None:
            return None
        told = -1 if entry.hold_ms is None else entry.hold_ms
        # An entry of version 1 does not say how long its events wait: the shorter of the settings
        # told before it and by this entry is the least that can be asked.
        hold_ms = held.hold_ms if held.told or 0 <= held.hold_ms < told else told
        if not self._needs(held, entry.label_position):
            sentence = f"given up, though its label is known at position {entry.label_position}"
            self._say(FindingKind.HOLD_GIVEN_UP, entry, offset, sentence)
        elif entry.decided_at < held.since + hold_ms:
            sentence = f"given up at {entry.decided_at}, before {held.since} and {hold_ms} ms"
            self._say(FindingKind.HOLD_GIVEN_UP, entry, offset, sentence)
        return held

    def _end(
        self, entry: Entry, offset: int, judged_from: int, state: State, what: str
    ) -> Held | None:
        partition = entry.partition
        if offset < judged_from or any(
            start <= offset < end for start, end in self._not_judged.get(partition, ())
        ):
            return None
        held = self.store.find(partition, offset)
        if held is None or held.state in ENDED:
            why = "it did not wait" if held is None else ENDED[held.state]
            self._say(FindingKind.HOLD_NOT_WAITING, entry, offset, f"{what}, but {why}")
            return None
        self.store.change(partition, offset, state, entry.offset)
        self.waiting[partition] -= 1
        return held

    def check_left(self, entry: Entry) -> None:
        """Events of raw may be decided only when nothing that is covered still waits."""
        if self.waiting[entry.partition]:
            for offset in self.store.due(entry.partition):
                self._overtaken(entry, entry.raw_from, offset)

    def _overtaken(self, entry: Entry, by: int, offset: int) -> None:
        self.store.change(entry.partition, offset, State.LATE)
        sentence = f"raw {entry.partition}-{by} was decided before it, though its label was known"
        self._say(FindingKind.HOLD_OVERTAKEN, entry, offset, sentence)

    def hold(self, entry: Entry, raw: Record, pic: str, awaits: tuple[str, ...]) -> bool:
        """An event needs a label; answers whether it waits for it."""
        waits = raw.offset not in entry.not_held
        told = entry.hold_ms is not None
        hold_ms = self._told.get(entry.partition, -1)
        state = State.WAITING if waits else State.NOT_HELD
        self.store.add(Held(raw, pic, entry.decided_at, hold_ms, told, awaits, state))
        self.waiting[entry.partition] += waits
        return waits

    def check_not_held(self, entry: Entry, start: int) -> None:
        """What found no room must be of the span, and in need of a label."""
        for offset in sorted(entry.not_held):
            held = self.store.find(entry.partition, offset)
            if (
                held is None
                or held.state is not State.NOT_HELD
                or not (start <= offset < entry.raw_next)
            ):
                sentence = "it is said to have found no room, but it needs none"
                self._say(FindingKind.HOLD_NOT_NEEDED, entry, offset, sentence)

    def left_at_rest(self) -> Iterator[tuple[int, list[int]]]:
        """Partitions and raw offsets of what waits, though the labels as they are cover it."""
        for partition, count in sorted(self.waiting.items()):
            if count:
                self._compare(partition, self.labels.end(partition))
                offsets = self.store.due(partition)
                if offsets:
                    yield partition, offsets

    def _say(self, kind: FindingKind, entry: Entry, offset: int, sentence: str) -> None:
        self.findings.add(
            kind,
            sentence,
            topic=self.topic,
            partition=entry.partition,
            offset=entry.offset,
            raw=RawPosition(entry.partition, offset),
        )


def pic_of(scan: Scan) -> str:
    """The number under which the labels of a scan stand."""
    return ownership(scan.barcode).pic
