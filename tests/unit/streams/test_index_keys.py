"""Keys of the index: they follow from position and content alone, and lead back to the position."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.barcode import owner
from schemas.event_id import event_id
from schemas.event_reader import read_event
from streams.index_keys import (
    BLOCK_OFFSETS,
    KEY_BYTES,
    Term,
    block_of,
    event_term,
    keys_of,
    number_term,
    offset_of,
    prefix,
)
from streams.raw_record import RawRecord
from tests.router_support import barcode, event

PIC = "9205590123456700000017"


def record(number: str, partition: int = 0, offset: int = 0) -> RawRecord:
    key, value = event(number)
    return RawRecord(partition, offset, 5, key, value)


@given(st.integers(0, 63), st.integers(0, 2**40))
def test_a_key_leads_back_to_its_position(partition, offset):
    keys = list(keys_of([record(PIC, partition, offset)]))
    assert {len(key) for key in keys} == {KEY_BYTES}
    assert {offset_of(key) for key in keys} == {offset}
    terms = [number_term(PIC.encode()), Term(event=event_of(PIC))]
    for key, term in zip(keys, terms, strict=True):
        assert key.startswith(prefix(partition, block_of(offset), term.tail))


def event_of(number: str) -> bytes:
    facts = read_event(record(number).value)
    return event_id(owner(facts.barcode).pic, facts)


def test_keys_of_a_block_stand_together_and_before_those_of_the_next():
    one = list(keys_of([record(PIC, 1, BLOCK_OFFSETS - 1)]))
    two = list(keys_of([record(barcode("901234567", 7), 1, BLOCK_OFFSETS)]))
    assert max(one) < prefix(1, 1) <= min(two)


@pytest.mark.parametrize("asked", [PIC, "42078745" + PIC, "420787451234" + PIC])
def test_a_number_is_found_with_and_without_its_routing(asked):
    term = number_term(asked.encode())
    for scanned in (PIC, "42078745" + PIC):
        found = record(scanned)
        assert term.may_match(found)
        assert term.matches(found)
        assert next(keys_of([found])).endswith(term.tail + bytes(3))
    assert not term.matches(record(barcode("901234567", 7)))


@given(st.sampled_from([PIC, barcode("901234567", 7)]), st.sampled_from([PIC, "x"]))
def test_what_may_not_match_does_not(number, asked):
    term, one = number_term(asked.encode()), record(number)
    assert term.may_match(one) or not term.matches(one)


def test_an_unreadable_record_is_found_by_its_key():
    broken = RawRecord(0, 3, 5, b"k1", b"\0\0\0\xff\xff")
    assert Term(number=b"k1").matches(broken)
    assert len(list(keys_of([broken]))) == 1
    assert list(keys_of([RawRecord(0, 3, 5, None, None)])) == []


@pytest.mark.parametrize("text", ["", PIC, "0" * 23, "g" * 24])
def test_what_is_no_event_id(text):
    assert event_term(text) is None


def test_an_event_id_in_hex():
    found = event_term(event_of(PIC).hex())
    assert found is not None
    assert found.matches(record(PIC))
    assert not found.matches(record(barcode("901234567", 7)))
