"""[core] The partitions of tenant topics and quarantine, read as the judge goes along.

Within a partition, the records of one raw partition stand in the order in which they were decided
(turns, `auditor/ledger.py`), so what must stand next and what does can be compared one by one.
Several raw partitions share a tenant partition: the records of each wait in a queue of their own
until raw comes to them.

Bound: `HELD_MAX` waiting records and one piece of each partition; what is more waits on disk.
What does not stand in its turn goes to the open positions, which are settled at the end
(`auditor/placements.py`).
"""

import re
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from auditor.contents import Partition, Record, Share
from auditor.findings import FindingKind, Findings, RawPosition
from auditor.holds import Holds

_is_position = re.compile(rb"(0|[1-9][0-9]{0,9})-(0|[1-9][0-9]{0,18})").fullmatch
RAW_ORIGIN = b"raw:"
# A delivery with its headers takes some 2 kB.
HELD_MAX = 50_000
FETCHED_BACK = 1_000
Waiting = tuple[int, Record]
# Where `ce_id` stands among our seven headers, or eight where a label named the owner.
CE_ID_AT, HEADERS = 3, (7, 8)


class Spill(Protocol):
    """What the judge sets aside outside its memory (`auditor/spill.py`)."""

    def wait(self, queue: int, waiting: list[Waiting]) -> None:
        """Add to the end of a queue."""
        ...

    def take(self, queue: int, most: int) -> list[Waiting]:
        """Remove and answer the first of a queue."""
        ...

    def absent(self, position: RawPosition, topic: str) -> None:
        """Note that a record due in a topic did not stand in its turn."""
        ...

    def standing(self, position: RawPosition, topic: str, record: Record, *, turn: bool) -> None:
        """Note a record that is not what must stand; `turn` says that it stood in its turn."""
        ...


@dataclass(frozen=True, slots=True)
class Judged:
    """The raw offsets of one partition that are judged: from (below is context), and up to.

    `more` says that an open transaction may hide further entries of the ledger.
    """

    start: int
    end: int
    more: bool = False


@dataclass(slots=True)
class Census:
    """What all shelves have in common: what they are checked against, and what they count."""

    share: Share
    judged: dict[int, Judged]
    findings: Findings
    spill: Spill
    holds: Holds
    never_raw: Counter[str] = field(default_factory=Counter)
    context: int = 0
    behind: int = 0
    held: int = 0
    queues: int = 0


@dataclass(slots=True)
class Queue:
    """Records of one raw partition in one tenant partition that raw has not come to yet.

    In order: `here`, then so many `away` on disk, then `behind`, on its way there. `highest` is
    the turn of one that has left, `highest_raw` its offset.
    """

    number: int
    here: deque[Waiting] = field(default_factory=deque)
    away: int = 0
    behind: list[Waiting] = field(default_factory=list)
    highest: int = -1
    highest_raw: int = -1


class Shelf:
    """One partition of a topic. `tenant` is the one whose topic it is, empty if none's.

    When a record stands in its turn is known only once raw has come to it: whether a tenant had to
    wait for an event follows from the decision. So order is judged as records leave their queue.
    """

    def __init__(
        self,
        census: Census,
        topic: str,
        number: int,
        partition: Partition,
        *,
        tenant: str = "",
        quarantine: bool = False,
    ) -> None:
        self.topic = topic
        self.tenant = tenant
        self.partition = partition
        self.number = number
        self.first_kept: dict[int, int] = {}
        self.excused = 0
        self.records = 0
        self.read_out = False
        self._census = census
        self._quarantine = quarantine
        self._pieces: Iterator[list[Record]] = partition.pieces()
        self._queues: dict[int, Queue] = {}

    def take(self, raw_partition: int, offset: int, turn: int) -> Record | None:
        """The record that stands in turn for a raw position; None if another, or none, does.

        Turns of each raw partition are asked for in order. What stands before is set aside as
        open.
        """
        queue = self._queues.get(raw_partition)
        while True:
            if queue is None or not queue.here:
                if not self._fill(raw_partition):
                    return None
                queue = self._queues[raw_partition]
            stands_at, record = queue.here[0]
            if stands_at == offset:
                queue.here.popleft()
                self._census.held -= 1
                if turn < queue.highest:
                    self._out_of_order(queue, raw_partition, offset, record)
                else:
                    queue.highest, queue.highest_raw = turn, offset
                return record
            if self._census.holds.turn(raw_partition, stands_at, self.tenant) > turn:
                return None
            self._leave_open(queue, raw_partition)

    def drain(self) -> None:
        """Set everything aside that is left: nobody asked for it."""
        while self._read_piece(-1):
            self._drain_queues()
        self._drain_queues()

    def may_be_gone(self, raw_partition: int, turn: int) -> bool:
        """Whether an absent record may have stood below what retention has kept here."""
        if self.partition.begin == 0:
            return False
        first = self.first_turn(raw_partition)
        return first is None or turn < first

    def first_turn(self, raw_partition: int) -> int | None:
        """The turn of the first record that stands here; None if none does."""
        offset = self.first_kept.get(raw_partition)
        if offset is None:
            return None
        return self._census.holds.turn(raw_partition, offset, self.tenant)

    def _drain_queues(self) -> None:
        for raw_partition, queue in self._queues.items():
            while queue.here or self._bring_back(queue):
                self._leave_open(queue, raw_partition)

    def _leave_open(self, queue: Queue, raw_partition: int) -> None:
        """Set the first of a queue aside: it is not what must stand next."""
        offset, record = queue.here.popleft()
        self._census.held -= 1
        turn = self._census.holds.turn(raw_partition, offset, self.tenant)
        if turn < queue.highest:
            self._out_of_order(queue, raw_partition, offset, record)
        else:
            queue.highest, queue.highest_raw = turn, offset
        position = RawPosition(raw_partition, offset)
        self._census.spill.standing(position, self.topic, record, turn=False)

    def _out_of_order(self, queue: Queue, raw_partition: int, offset: int, record: Record) -> None:
        census = self._census
        hidden = census.judged[raw_partition].more and census.holds.is_waiting(
            raw_partition, offset
        )
        # The entry that decided it anew may stand behind the ledger's open transaction.
        if not self._quarantine and not hidden:
            sentence = f"it stands after raw {raw_partition}-{queue.highest_raw}"
            self._say(FindingKind.OUT_OF_ORDER, record, (raw_partition, offset), sentence)

    def _fill(self, raw_partition: int) -> bool:
        """Bring a record of this raw partition to the head of its queue; False if there is none."""
        while True:
            queue = self._queues.get(raw_partition)
            if queue is not None and (queue.here or self._bring_back(queue)):
                return True
            if not self._read_piece(raw_partition):
                return False

    def _bring_back(self, queue: Queue) -> bool:
        if not queue.away:
            return False
        back = self._census.spill.take(queue.number, FETCHED_BACK)
        queue.here.extend(back)
        queue.away -= len(back)
        self._census.held += len(back)
        return bool(back)

    def _read_piece(self, wanted: int) -> bool:
        if self.read_out:
            return False
        piece = next(self._pieces, None)
        if piece is None:
            self.read_out = True
            return False
        for record in piece:
            self._sort_in(record)
        for queue in self._queues.values():
            if queue.behind:
                self._send_away(queue, queue.behind)
                queue.behind = []
        if self._census.held > HELD_MAX:
            self._make_room(wanted)
        return True

    def _make_room(self, wanted: int) -> None:
        """Send what waits here for other raw partitions to the disk."""
        for raw_partition, queue in self._queues.items():
            if raw_partition != wanted and queue.here and not queue.away:
                self._send_away(queue, list(queue.here))
                self._census.held -= len(queue.here)
                queue.here.clear()

    def _send_away(self, queue: Queue, waiting: list[Waiting]) -> None:
        self._census.spill.wait(queue.number, waiting)
        queue.away += len(waiting)

    def _sort_in(self, record: Record) -> None:
        position = self._position(record)
        if position is None:
            return
        raw_partition, offset = position
        census = self._census
        if raw_partition % census.share.of != census.share.number:
            return
        self.records += 1
        judged = census.judged.get(raw_partition)
        if judged is None or offset >= judged.end:
            if judged is not None and judged.more:
                census.behind += 1
                return
            self._say(
                self._kind(FindingKind.EXTRA, FindingKind.QUARANTINE_EXTRA),
                record,
                position,
                f"it claims raw {raw_partition}-{offset}, but no ledger entry decided it",
            )
            return
        if offset < judged.start:
            self.first_kept.setdefault(raw_partition, offset)
            census.context += 1
            return
        queue = self._queues.get(raw_partition)
        if queue is None:
            queue = self._queues[raw_partition] = Queue(census.queues)
            census.queues += 1
            self.first_kept.setdefault(raw_partition, offset)
        if queue.away:
            queue.behind.append((offset, record))
        else:
            queue.here.append((offset, record))
            census.held += 1

    def _position(self, record: Record) -> tuple[int, int] | None:
        """The raw position that a record claims; without one it is found, or counted, here."""
        headers = record.headers
        if self._quarantine:
            origin = _last(record, "mg-origin") or b""
            if origin and not origin.startswith(RAW_ORIGIN):
                if self._census.share.first:
                    reason = _last(record, "mg-reason") or b"?"
                    self._census.never_raw[reason.decode("utf-8", "replace")] += 1
                return None
            claim = origin.removeprefix(RAW_ORIGIN)
        elif len(headers) in HEADERS and headers[CE_ID_AT][0] == "ce_id":
            claim = headers[CE_ID_AT][1] or b""
        else:
            claim = _last(record, "ce_id") or b""
        match = _is_position(claim)
        if match is not None:
            return int(match[1]), int(match[2])
        if self._census.share.first:
            self.records += 1
            kind = self._kind(FindingKind.WRONG_HEADERS, FindingKind.QUARANTINE_EXTRA)
            self._say(kind, record, None, "it does not say which raw record it is")
        return None

    def _kind(self, in_tenant: FindingKind, in_quarantine: FindingKind) -> FindingKind:
        return in_quarantine if self._quarantine else in_tenant

    def _say(
        self, kind: FindingKind, record: Record, position: tuple[int, int] | None, sentence: str
    ) -> None:
        self._census.findings.add(
            kind,
            sentence,
            topic=self.topic,
            partition=record.partition,
            offset=record.offset,
            raw=None if position is None else RawPosition(*position),
        )


def _last(record: Record, name: str) -> bytes | None:
    """The last header of a name: ours stand after the raw record's own."""
    for header, value in reversed(record.headers):
        if header == name:
            return value
    return None
