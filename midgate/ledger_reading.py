"""What the ledger says of a raw position: found by halving, as its entries join without a gap."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from midgate.reading import fetched

if TYPE_CHECKING:
    from aiokafka import AIOKafkaConsumer, TopicPartition

# Behind the last entry of a transaction stands its marker, which is no record.
GAP_OFFSETS = 16
# How far behind its first decision the end of a wait is looked for: hours of a busy lane.
HELD_ENTRIES_MAX = 100_000


class Recorded(NamedTuple):
    """What the ledger knows of a raw record: the entry, or None and why (`pending`, `gone`)."""

    line: LedgerLine | None
    absent: str = ""


class LedgerLine(NamedTuple):
    """One entry and where it stands."""

    offset: int
    timestamp: int
    entry: dict[str, Any]


class Ledger:
    """One partition of the ledger, as the consumer sees it now.

    `begin` moves on when retention takes what is being read.
    """

    def __init__(self, consumer: AIOKafkaConsumer, topic: str, partition: int) -> None:
        from aiokafka import TopicPartition

        self._consumer = consumer
        self._place = TopicPartition(topic, partition)
        self.begin = self._end = 0

    async def open(self) -> None:
        """Take the partition's bounds."""
        self.use()
        self.begin = (await self._consumer.beginning_offsets([self._place]))[self._place]
        self._end = (await self._consumer.end_offsets([self._place]))[self._place]

    def use(self) -> None:
        """Take the consumer back from whoever read another partition with it."""
        if self._place not in self._consumer.assignment():
            self._consumer.assign([self._place])

    async def first(self) -> LedgerLine | None:
        """The oldest entry that is still recorded."""
        return await self._at_or_after(self.begin)

    async def covering(self, raw_offset: int, received_ms: int) -> LedgerLine | None:
        """The entry under which a raw offset was decided; None: not yet, or no longer recorded.

        Entries written soon after it was received are looked at first; that is where it is, unless
        a lane lagged or clocks differ.
        """
        low, high = self.begin, self._end
        self.use()
        soon = await self.lines(await self.from_instant(received_ms))
        for line in soon:
            if line.entry["raw_from"] <= raw_offset < line.entry["raw_next"]:
                return line
        if soon and soon[0].entry["raw_from"] > raw_offset:
            high = soon[0].offset
        elif soon:
            low = soon[-1].offset + 1
        found: LedgerLine | None = None
        while low < high:
            middle = (low + high) // 2
            probe = await self._at_or_after(middle)
            if probe is None or probe.offset >= high:
                high = middle
            elif probe.entry["raw_next"] <= raw_offset:
                low = probe.offset + 1
            else:
                found, high = probe, middle
        if found is not None and found.entry["raw_from"] <= raw_offset:
            return found
        return None

    async def from_instant(self, instant_ms: int) -> int:
        """Offset of the first entry written at or after an instant; the end, if there is none."""
        found = await self._consumer.offsets_for_times({self._place: max(0, instant_ms)})
        return self._end if found[self._place] is None else found[self._place].offset

    async def lines(self, start: int) -> list[LedgerLine]:
        """Some entries from an offset on, in order; empty at the end."""
        self._consumer.seek(self._place, start)
        while await self._consumer.position(self._place) < self._end:
            batches = await self._fetched()
            records = [one for one in batches.get(self._place, []) if one.offset < self._end]
            if records:
                return [_line(record) for record in records]
        return []

    async def _fetched(self, **limits: int) -> dict[TopicPartition, list[Any]]:
        before = await self._consumer.position(self._place)
        batches = await fetched(self._consumer, self._place, **limits)
        after = await self._consumer.position(self._place)
        if not batches and after > before:
            # Either a marker was passed, or retention has come by.
            begins = await self._consumer.beginning_offsets([self._place])
            self.begin = max(self.begin, begins[self._place])
        return batches

    async def _at_or_after(self, offset: int) -> LedgerLine | None:
        self._consumer.seek(self._place, offset)
        while await self._consumer.position(self._place) < self._end:
            batches = await self._fetched(max_records=GAP_OFFSETS)
            for record in batches.get(self._place, []):
                return _line(record)
        return None


class Held(NamedTuple):
    """`state`: decided_anew, given_up, no_room, waiting; not_searched: no end within the bound;
    no_longer_recorded: the ledger's retention has taken where it may have ended."""

    state: str
    line: LedgerLine | None = None


class LedgerSearch:
    """Looks raw records up in the ledger with one consumer, whose assignment it changes."""

    def __init__(self, consumer: AIOKafkaConsumer, topic: str) -> None:
        self._consumer = consumer
        self._topic = topic
        self._ledgers: dict[int, Ledger] = {}

    async def find(self, record: Any) -> Recorded:
        """Under which entry a raw record was decided; else if it is pending or the entry gone."""
        ledger = self._ledgers.get(record.partition)
        if ledger is None:
            ledger = Ledger(self._consumer, self._topic, record.partition)
            await ledger.open()
            self._ledgers[record.partition] = ledger
        line = await ledger.covering(record.offset, record.timestamp)
        if line is not None:
            return Recorded(line)
        first = await ledger.first()
        gone = first is not None and first.entry["raw_from"] > record.offset
        return Recorded(None, "gone" if gone else "pending")

    async def held(self, record: Any, since: LedgerLine) -> Held:
        """What became of an event that was to wait for its label, decided first under `since`."""
        if record.offset in since.entry.get("not_held", ()):
            return Held("no_room")
        ledger = self._ledgers[record.partition]
        ledger.use()
        position, read = since.offset + 1, 0
        while read < HELD_ENTRIES_MAX:
            lines = await ledger.lines(position)
            if ledger.begin > position:
                return Held("no_longer_recorded")
            if not lines:
                break
            for line in lines:
                if record.offset in line.entry.get("decided_anew", ()):
                    return Held("decided_anew", line)
                if record.offset in line.entry.get("given_up", ()):
                    return Held("given_up", line)
            position, read = lines[-1].offset + 1, read + len(lines)
        return Held("waiting" if read < HELD_ENTRIES_MAX else "not_searched")


def _line(record: Any) -> LedgerLine:
    from schemas.codec import decode

    return LedgerLine(record.offset, record.timestamp, decode(record.value)[1])
