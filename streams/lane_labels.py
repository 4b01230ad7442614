"""What a lane knows of labels, and the events that wait for one.

    take over ──► catch up with the labels ──► start order ──► read the holds, compare all of them
    each turn ──► take in new labels ──► held events of their numbers that are covered now: due
    each batch ─► a desk with what is due and overdue ──► committed ──► only now the book changes

How far the labels are read changes only at the beginning of a turn, so a batch is decided on one
position of them. What is due, and for how long, is `streams/held_events.py`.
"""

from collections.abc import Callable, Mapping, Sequence

from streams.delivery import LabelState, StartPoint
from streams.ending import in_thread
from streams.held_events import HeldEvents
from streams.holds import HoldChanges
from streams.holds_topic import read_holds
from streams.label_desk import LabelDesk
from streams.label_feed import LabelFeed
from streams.label_lookup import LabelLookup, numbers_asked_for
from streams.label_store import LabelStores
from streams.raw_record import RawRecord
from streams.settings import KafkaSettings, LabelSettings
from streams.topics import TopicNames


class LaneLabels:
    """Labels and holds of one lane's partitions. One task uses it."""

    def __init__(
        self,
        kafka: KafkaSettings,
        names: TopicNames,
        partitions: Sequence[int],
        settings: LabelSettings,
        stores: LabelStores,
        *,
        on_step: Callable[[], None],
    ) -> None:
        self._kafka = kafka
        self._holds_topic = names.holds
        self._partitions = tuple(partitions)
        self._feed = LabelFeed(kafka, names.labels, partitions, stores, purpose="lane")
        self._on_step = on_step
        self._held = HeldEvents(
            events_max=settings.hold_events_max,
            bytes_max=settings.hold_bytes_max,
            hold_ms=settings.hold_s * 1000,
        )

    @property
    def events(self) -> int:
        """How many events wait."""
        return self._held.events

    @property
    def state(self) -> LabelState:
        """What the next batch is decided on."""
        return LabelState(self._feed.positions, self._held.hold_ms)

    async def take_over(self) -> None:
        """Have the labels up to their present end, however long it takes; before the start order,
        so that nobody waits for a lane that has registered and cannot decide.

        Raises what `LabelFeed.open` and `catch_up` raise.
        """
        await self._feed.open()
        await self._feed.catch_up({}, on_progress=lambda done, total: self._on_step())

    async def start(self, points: Mapping[int, StartPoint], nonce: str) -> None:
        """After the start order: labels as far as was decided on before, and all holds.

        Raises WrongLogError (labels are gone), HoldsUnreadableError, BrokerUnreachableError.
        """
        floors = {number: point.label_position for number, point in points.items()}
        await self._feed.catch_up(floors, on_progress=lambda done, total: self._on_step())
        held = await read_holds(
            self._kafka, self._holds_topic, self._partitions, nonce, on_step=self._on_step
        )
        self._held.start(held, self._feed.find)

    async def take(self) -> None:
        """Take in what has come, and find what is due by it. Between two batches only."""
        changed = await self._feed.take()
        numbers = [(number, pic) for number, pics in changed.items() for pic in pics]
        self._held.compare(numbers, self._feed.find)

    def has_work(self, now_ms: int) -> bool:
        """Whether held events are to be decided or given up now."""
        return self._held.has_work(now_ms)

    async def desk(self, records: Sequence[RawRecord], now_ms: int) -> LabelDesk:
        """For a batch of these records: their labels are looked up, off the event loop."""
        lookup = LabelLookup(self._feed.find)
        desk = self._held.desk(lookup, now_ms)
        numbers = numbers_asked_for(records)
        for held in desk.due:
            numbers.setdefault(held.record.partition, set()).add(held.pic)
        if numbers:
            await in_thread(lambda: lookup.expect(numbers))
        return desk

    def committed(self, changes: HoldChanges) -> None:
        """The transaction with these changes is committed: only now they count."""
        self._held.committed(changes)

    async def close(self) -> None:
        """Give the stores back."""
        await self._feed.close()
