"""The identity of a piece, read from the bytes, is the one of the full decode."""

from hypothesis import given

from schemas.codec import decode
from schemas.piece import read_piece
from tests.unit.schemas.records import TRACKING_EVENT, bounded, values


@bounded(500)
@given(values(TRACKING_EVENT))
def test_it_agrees_with_the_full_decode(value):
    record = decode(value)[1]
    assert read_piece(value) == (record["mailing_date"], record["unique_tracking_id"] or "")
