"""Held events: what is written is read, bounds hold, deadlines come in order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from streams.holds import (
    Held,
    HoldBook,
    HoldChanges,
    hold_bytes,
    hold_key,
    hold_record,
    read_hold,
)
from streams.raw_record import RawRecord
from tests.unit.schemas.records import bounded

PICS = [b"9400111206206406260787", b"9505511069605048600624", b"RB123456785GB"]


def held(offset: int, pic: bytes = PICS[0], until: int = 100, partition: int = 0, **more) -> Held:
    return Held(pic, RawRecord(partition, offset, 7, pic, b"value", ()), until, **more)


events = st.builds(
    Held,
    st.sampled_from(PICS),
    st.builds(
        RawRecord,
        st.integers(0, 3),
        st.integers(0, 2**40),
        st.integers(0, 2**41),
        st.none() | st.binary(max_size=5),
        st.none() | st.binary(max_size=9),
        st.lists(st.tuples(st.text(max_size=3), st.binary(max_size=3)), max_size=2).map(tuple),
    ),
    st.integers(0, 2**41),
    st.lists(st.sampled_from(["acme", "globex-2", "t"]), max_size=2).map(tuple),
)


@bounded(300)
@given(events)
def test_what_is_written_is_read(one):
    key, value, timestamp, headers = hold_record(one)
    assert read_hold(one.record.partition, key, value, timestamp, headers) == one
    assert hold_bytes(one) >= len(value or b"") + len(key)


def test_nothing_else_is_taken_for_a_hold():
    key, value, timestamp, headers = hold_record(held(5))
    with pytest.raises(ValueError, match="mg-hold"):
        read_hold(0, key, value, timestamp, [])
    with pytest.raises(ValueError, match="different"):
        read_hold(0, key[:-1] + b"6", value, timestamp, headers)
    with pytest.raises(ValueError, match="invalid literal"):
        read_hold(0, key, value, timestamp, [("mg-hold", b"5/x/-/")])


def test_a_batch_ends_and_begins_holds_by_key():
    changes = HoldChanges([held(1)], [held(2)], [held(3, partition=1)], [(0, 9)])
    out = changes.records()
    assert [(key, value) for key, value, _, _ in out[0]] == [
        (hold_key(held(1)), None),
        (hold_key(held(2)), None),
    ]
    assert out[1] == [hold_record(held(3, partition=1))]
    assert not HoldChanges()
    assert HoldChanges(unheld=[(0, 1)])


def test_room_is_by_events_and_by_bytes():
    room = HoldBook(events_max=2, bytes_max=10**6).room()
    assert [room.takes(held(n)) for n in range(3)] == [True, True, False]
    room = HoldBook(events_max=9, bytes_max=hold_bytes(held(0)) + 1).room()
    assert [room.takes(held(n)) for n in range(2)] == [True, False]
    book = HoldBook(events_max=1, bytes_max=10**6)
    book.load([held(1), held(2)])
    assert not book.room().takes(held(3)), "more than fits after a smaller setting"


class Book(RuleBasedStateMachine):
    """Against a plain set of events, whatever is applied in whatever order."""

    def __init__(self) -> None:
        super().__init__()
        self.book = HoldBook(events_max=1_000, bytes_max=10**6)
        self.model: dict[int, Held] = {}
        self.offset = 0

    @rule(
        pic=st.sampled_from(PICS), until=st.integers(0, 50), times=st.sampled_from([1, 2, 5, 600])
    )
    def add(self, pic, until, times):
        added = [held(self.offset + n, pic, until + n % 3) for n in range(times)]
        self.offset += times
        self.book.apply(HoldChanges(added=added))
        self.model |= {one.record.offset: one for one in added}

    @precondition(lambda self: self.model)
    @rule(data=st.data(), decided=st.booleans())
    def end(self, data, decided):
        first, step = data.draw(st.integers(0, 600)), data.draw(st.integers(1, 4))
        some = sorted(self.model)[first::step]
        ended = [self.model.pop(offset) for offset in some]
        changes = HoldChanges(decided=ended) if decided else HoldChanges(given_up=ended)
        self.book.apply(changes)
        self.book.apply(changes)

    @rule(now=st.integers(0, 60), at_most=st.integers(1, 400))
    def overdue(self, now, at_most):
        wanted = sorted(one.until_ms for one in self.model.values() if one.until_ms <= now)
        found = self.book.overdue(now, at_most)
        assert [one.until_ms for one in found] == wanted[:at_most]
        assert len({one.place for one in found}) == len(found)

    @rule()
    def read_again(self):
        events = [one for number in self.book.numbers() for one in self.book.of(number)]
        self.book.clear()
        assert self.book.events == 0
        self.book.load(events)

    @invariant()
    def as_the_model(self):
        assert self.book.events == len(self.model)
        assert self.book.bytes == sum(hold_bytes(one) for one in self.model.values())
        deadlines = [one.until_ms for one in self.model.values()]
        assert self.book.next_deadline_ms() == min(deadlines, default=None)
        for pic in PICS:
            wanted = sorted(n for n, one in self.model.items() if one.pic == pic)
            assert [one.record.offset for one in self.book.of((0, pic))] == wanted


TestBook = Book.TestCase
TestBook.settings = bounded(40)
