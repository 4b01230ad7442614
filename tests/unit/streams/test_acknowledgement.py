"""The metadata of committed offsets: what is written is read back, and nothing else is believed."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.acknowledgement import (
    Acknowledgement,
    StartNonce,
    decode_acknowledgement,
    decode_decided_at,
    encode_acknowledgement,
    encode_decided_at,
    encode_start_nonce,
)

ACKNOWLEDGEMENT = Acknowledgement(
    log_id="8b9c",
    version=42,
    registration="a1",
    producer_id=7,
    producer_epoch=3,
    change_id="c3" * 16,
)


def test_the_fields_are_named_as_the_page_says() -> None:
    assert json.loads(encode_acknowledgement(ACKNOWLEDGEMENT)) == {
        "l": "8b9c",
        "v": 42,
        "n": "a1",
        "p": 7,
        "e": 3,
        "c": "c3" * 16,
    }
    start = StartNonce("b2", "8b9c", "c3" * 16)
    assert json.loads(encode_start_nonce(start)) == {"nonce": "b2", "l": "8b9c", "c": "c3" * 16}
    assert json.loads(encode_decided_at(1700)) == {"d": 1700}


@given(
    st.builds(
        Acknowledgement,
        log_id=st.text(),
        version=st.integers(),
        registration=st.text(),
        producer_id=st.integers(),
        producer_epoch=st.integers(),
        change_id=st.one_of(st.just(""), st.binary(min_size=16, max_size=16).map(bytes.hex)),
    )
)
def test_an_acknowledgement_is_read_back(acknowledgement: Acknowledgement) -> None:
    assert decode_acknowledgement(encode_acknowledgement(acknowledgement)) == acknowledgement


def test_a_start_is_no_acknowledgement() -> None:
    start = StartNonce("b2", "8b9c", "c3" * 16)
    assert decode_acknowledgement(encode_start_nonce(start)) == start
    assert decode_acknowledgement('{"nonce":"b2","l":7,"c":"none"}') == StartNonce("b2")


@pytest.mark.parametrize(
    "metadata",
    [
        "",
        "v=9",
        "[]",
        "null",
        "{}",
        '{"l":"x","v":"9","n":"a","p":1,"e":1}',
        '{"l":"x","v":true,"n":"a","p":1,"e":1}',
        '{"l":"x","n":"a","p":1,"e":1}',
        '{"l":null,"v":9,"n":"a","p":1,"e":1}',
    ],
)
def test_what_cannot_be_read_acknowledges_nothing(metadata: str) -> None:
    assert decode_acknowledgement(metadata) is None


@given(st.text())
def test_foreign_metadata_is_never_an_error(metadata: str) -> None:
    assert isinstance(decode_decided_at(metadata), int)
    decode_acknowledgement(metadata)


def test_the_floor_of_the_clock_is_read_back() -> None:
    assert decode_decided_at(encode_decided_at(1_700_000_000_123)) == 1_700_000_000_123
    assert decode_decided_at("") == 0
    assert decode_decided_at('{"d":"soon"}') == 0
