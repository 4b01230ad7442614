"""[core] A lane's held events over time: which are due, and what the next batch is to do with them.

An event is due when a label of the present position covers it, or makes it ambiguous. It stays due
until a batch that has decided it is committed. Changes count only with the commit: a batch that
failed has left nothing here, and a start reads everything again.
"""

from collections.abc import Iterable

from streams.holds import Held, HoldBook, HoldChanges, Number, Place
from streams.label_desk import LabelDesk
from streams.label_lookup import Find, LabelLookup, by_partition
from streams.label_routing import is_covered

# Events decided anew or given up in one transaction: each is a tombstone, and a number in a ledger
# entry, which has to fit a message.
ENDED_MAX = 10_000


class HeldEvents:
    """`find` of every call answers from the labels at the present position."""

    def __init__(
        self, *, events_max: int, bytes_max: int, hold_ms: int, ended_max: int = ENDED_MAX
    ) -> None:
        self._book = HoldBook(events_max=events_max if hold_ms else 0, bytes_max=bytes_max)
        self._due: dict[Place, Held] = {}
        self._ended_max = ended_max
        self.hold_ms = hold_ms

    @property
    def events(self) -> int:
        """How many wait."""
        return self._book.events

    def start(self, held: Iterable[Held], find: Find) -> None:
        """Begin anew with what is held, and compare all of it, whatever came first."""
        self._book.clear()
        self._due.clear()
        self._book.load(held)
        self.compare(self._book.numbers(), find)

    def compare(self, numbers: Iterable[Number], find: Find) -> None:
        """The labels of these numbers have changed: what of them is due now?"""
        waiting = [number for number in numbers if self._book.of(number)]
        lookup = LabelLookup(find)
        lookup.expect(by_partition(waiting))
        for number in waiting:
            for held in self._book.of(number):
                if is_covered(held, lookup):
                    self._due[held.place] = held

    def has_work(self, now_ms: int) -> bool:
        """Whether any are to be decided or given up now."""
        deadline_ms = self._book.next_deadline_ms()
        return bool(self._due) or (deadline_ms is not None and deadline_ms <= now_ms)

    def desk(self, lookup: LabelLookup, now_ms: int) -> LabelDesk:
        """For the next batch. What is covered is decided, however late; the rest has a deadline."""
        due = [self._due[place] for place in sorted(self._due)[: self._ended_max]]
        is_last = len(due) == len(self._due)
        overdue = self._book.overdue(now_ms, self._ended_max) if is_last else []
        overdue = [held for held in overdue if held.place not in self._due]
        return LabelDesk(lookup, due, overdue, self._book.room(), self.hold_ms, is_last)

    def committed(self, changes: HoldChanges) -> None:
        """The transaction with these changes is committed."""
        self._book.apply(changes)
        for held in (*changes.decided, *changes.given_up):
            self._due.pop(held.place, None)
