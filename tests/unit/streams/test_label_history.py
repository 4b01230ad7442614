"""A PIC's history: what is written is read, entries never change, an id means one label."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.codec import MalformedRecordError, UnknownFrameError, encode
from streams.label_history import (
    ENTRIES_MAX,
    Label,
    LabelConflictError,
    decode_history,
    encode_history,
    merged,
    read_entries,
)
from tests.unit.schemas.records import bounded

PIC = "9400111206206406260787"


def a_label(label_id: str = "l1", **changed) -> Label:
    plain = Label(label_id, "901234567", "acme", "t1", 5, 10, 20, 20_000, "u1")
    return plain._replace(**changed)


labels = st.builds(
    Label,
    st.sampled_from(["a", "b", "c"]),
    st.sampled_from(["901234567", "123456"]),
    st.just("acme"),
    st.sampled_from(["", "t1"]),
    *[st.integers(0, 3)] * 3,
    st.none() | st.integers(0, 3),
    st.sampled_from(["", "u1"]),
)


@bounded(200)
@given(st.lists(labels, max_size=4))
def test_what_is_written_is_read(history):
    value = encode_history(PIC, history)
    assert decode_history(PIC, value) == history
    for index, (entry, label) in enumerate(zip(read_entries(PIC, value), history, strict=True)):
        assert entry.index == index
        assert (entry.label_id, entry.mid) == (label.label_id, label.mid)
        assert entry.valid_from_ms == label.valid_from_ms
        assert entry.valid_to_ms == label.valid_to_ms
        assert entry.mailing_date == label.mailing_date
        assert entry.unique_tracking_id == label.unique_tracking_id
        assert entry.merchant_token_id == label.merchant_token_id


def test_a_record_of_another_number_or_kind_is_refused():
    value = encode_history(PIC, [a_label()])
    with pytest.raises(MalformedRecordError, match="key"):
        decode_history(PIC[:-1] + "8", value)
    with pytest.raises(MalformedRecordError):
        decode_history(PIC, value[:-1])
    with pytest.raises(MalformedRecordError, match="heartbeat"):
        decode_history(PIC, encode("heartbeat", {"nonce": "n"}))
    with pytest.raises(UnknownFrameError):
        decode_history(PIC, b"\0\0\0\x27\x0f" + value[5:])


@bounded(300)
@given(st.lists(labels, max_size=4), st.lists(labels, max_size=4))
def test_a_history_only_grows_and_an_id_means_one_label(known, added):
    try:
        before = merged([], known)
        after = merged(before, added)
    except LabelConflictError as error:
        contents = {one for one in [*known, *added] if one.label_id == error.label_id}
        assert len(contents) > 1
        return
    assert after[: len(before)] == before
    assert {one.label_id: one for one in after} == {one.label_id: one for one in [*known, *added]}
    assert len({one.label_id for one in after}) == len(after)
    assert merged(after, added) == after
    assert merged(after, after) == after


def test_other_content_under_a_known_id_names_what_differs():
    with pytest.raises(LabelConflictError, match="mid, valid_to_ms") as caught:
        merged([a_label()], [a_label(mid="123456", valid_to_ms=21)])
    assert caught.value.label_id == "l1"


def test_a_history_has_an_end():
    full = [a_label(f"l{n}") for n in range(ENTRIES_MAX)]
    assert len(merged(full, full)) == ENTRIES_MAX
    with pytest.raises(LabelConflictError, match="at most"):
        merged(full, [a_label("one more")])
