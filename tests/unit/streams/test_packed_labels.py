"""Packed histories: what was written is read, and the quick way names what the rule names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.label_facts import HOUR_MS, Scan, covering
from streams.label_history import Label, decode_history, encode_history, read_entries
from streams.packed_labels import covering_one, pack, unpack, unpack_entries
from tests.unit.schemas.records import bounded

PIC = "9400111206206406260787"
T0 = 1_785_000_000_000
# The earliest and the latest instant and day that a record can hold.
INSTANTS = st.sampled_from([-62_135_596_800_000, -1, 0, T0, 253_402_300_799_999])
DATES = st.none() | st.sampled_from([-719_162, -1, 0, 20_000, 2_932_896])
TEXTS = st.text(max_size=3) | st.sampled_from(["901234567", "é" * 127, "x" * 255, "x" * 256])


def a_label(label_id: str = "l1", **changed) -> Label:
    plain = Label(label_id, "901234567", "acme", "t1", 5, T0, T0 + HOUR_MS, None, "")
    return plain._replace(**changed)


labels = st.builds(Label, TEXTS, TEXTS, TEXTS, TEXTS, *[INSTANTS] * 3, DATES, TEXTS)


@bounded(300)
@given(st.lists(labels, max_size=4))
def test_what_is_packed_is_what_was_written(history):
    value, packed = encode_history(PIC, history), pack(PIC, history)
    assert unpack(PIC, packed) == decode_history(PIC, value) == history
    assert unpack_entries(PIC.encode(), packed) == read_entries(PIC, value)


def test_a_text_too_long_for_the_form_stays_in_the_record_as_it_came():
    history = [a_label(generated_by="x" * 256)]
    assert pack(PIC, history) == encode_history(PIC, history)
    assert pack(PIC, [a_label(generated_by="x" * 255)])[0] != 0


edges = st.builds(
    lambda hours, off: T0 + hours * HOUR_MS + off,
    st.sampled_from([-30, -14, -12, -1, 0, 1, 12, 14, 30]),
    st.integers(-1, 1),
)


@bounded(1000)
@given(st.lists(st.tuples(edges, edges, TEXTS), max_size=2), edges, st.sampled_from([0, 1, 2, 3]))
def test_the_quick_way_names_the_label_that_the_rule_names_or_none(history, time_ms, basis):
    written = [
        a_label(f"l{n}", valid_from_ms=start, valid_to_ms=end, generated_by=by)
        for n, (start, end, by) in enumerate(history)
    ]
    packed = pack(PIC, written)
    label, _ = covering(unpack_entries(PIC.encode(), packed), Scan(time_ms, basis, None, ""))
    mid, label_id = covering_one(packed, time_ms, basis)
    is_packed = all(len(by.encode()) <= 255 for _, _, by in history)
    if len(written) == 1 and is_packed and label is not None:
        assert (mid, label_id) == (label.mid.encode(), label.label_id.encode())
    else:
        assert (mid, label_id) == (b"", b"")


@pytest.mark.parametrize("basis", [0, 2, 3])
def test_a_local_time_counts_only_if_every_zone_lies_in_the_window(basis):
    packed = pack(PIC, [a_label(valid_to_ms=T0 + 26 * HOUR_MS + 1)])
    assert covering_one(packed, T0 + 14 * HOUR_MS, basis) == (b"901234567", b"l1")
    assert covering_one(packed, T0 + 14 * HOUR_MS - 1, basis) == (b"", b"")
    assert covering_one(packed, T0 + 14 * HOUR_MS + 1, basis) == (b"", b"")
