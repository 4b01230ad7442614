"""[core] A number's history as the local store keeps it: read without building what nobody asks.

Nearly every number has one label, and nearly every scan is told to be of it by the window alone, so
that is the quick way: two instants and two texts are cut out of the bytes. All else goes through
`unpack_entries`, which is the rule; `label_facts.covering` says what covers a scan.

    history   first byte 0: the record as it came (an Avro frame); 1: one label; 2: labels in a row
    label     valid_from, valid_to, generated_at, mailing_date (its least number: none), the lengths
              of five texts, one byte each; MID, id, tenant that generated it, token, unique id

The rare history with a longer text stays as it came.
"""

import struct
from collections.abc import Iterator, Sequence
from typing import Final

from mypy_extensions import i64

from streams.label_facts import LabelEntry
from streams.label_history import Label, decode_history, encode_history, read_entries

PACKING = 2
"""Of a store's identity: one that was packed otherwise is made anew."""

_AS_IT_CAME: Final = 0
_ONE: Final = 1
_SEVERAL: Final = 2
_HEAD = struct.Struct(">qqqi5B")
_HEAD_BYTES: Final = 33
# Of a history of one label.
_MID_LENGTH_AT: Final = 29
_TEXTS_AT: Final = 34
_NO_DATE: Final = -(1 << 31)
_TEXT_BYTES_MAX = 255
# TimeBasis, the symbol's index in the schema of a tracking event.
_UTC: Final = 1
# `label_facts.WALL_CLOCK_…_MS_MAX`, as constants of the compiled module.
_AHEAD_MS: Final = 14 * 3_600_000
_BEHIND_MS: Final = 12 * 3_600_000


def pack(pic: str, labels: Sequence[Label]) -> bytes:
    """A history for the local store, of labels that fit the schema."""
    parts = [bytes((_ONE if len(labels) == 1 else _SEVERAL,))]
    for label in labels:
        texts = [
            text.encode()
            for text in (
                label.mid,
                label.label_id,
                label.generated_by,
                label.merchant_token_id,
                label.unique_tracking_id,
            )
        ]
        lengths = [len(text) for text in texts]
        if max(lengths) > _TEXT_BYTES_MAX:
            return encode_history(pic, labels)
        date = _NO_DATE if label.mailing_date is None else label.mailing_date
        instants = label.valid_from_ms, label.valid_to_ms, label.generated_at_ms
        parts.append(_HEAD.pack(*instants, date, *lengths))
        parts += texts
    return b"".join(parts)


def unpack(pic: str, packed: bytes) -> list[Label]:
    """What was packed."""
    if not packed or packed[0] == _AS_IT_CAME:
        return decode_history(pic, packed) if packed else []
    return [
        Label(label_id, mid, by, token, generated, start, end, date, unique)
        for start, end, generated, date, mid, label_id, by, token, unique in _labels(packed)
    ]


def unpack_entries(pic: bytes, packed: bytes) -> list[LabelEntry]:
    """What was packed, as a decision reads it."""
    if not packed or packed[0] == _AS_IT_CAME:
        return read_entries(pic.decode("ascii"), packed) if packed else []
    return [
        LabelEntry(label_id, index, mid, by, token, start, end, date, unique)
        for index, (start, end, _, date, mid, label_id, by, token, unique) in enumerate(
            _labels(packed)
        )
    ]


def covering_one(packed: bytes, event_time_ms: int, time_basis: int) -> tuple[bytes, bytes]:
    """MID and id of the only label, if it is the only one and covers a scan without identity.

    `label_facts.covering` would name the same label; two empty texts say: ask it.
    """
    # Instants before 1970, and beyond the year 10,000, are left to the rule.
    if packed[0] != _ONE or packed[1] | packed[2] | packed[9] | packed[10]:
        return b"", b""
    first_ms: i64 = event_time_ms
    last_ms: i64 = event_time_ms
    if time_basis != _UTC:
        first_ms -= _AHEAD_MS
        last_ms += _BEHIND_MS
    if first_ms < _instant_ms(packed, 3) or last_ms >= _instant_ms(packed, 11):
        return b"", b""
    id_at = _TEXTS_AT + packed[_MID_LENGTH_AT]
    return packed[_TEXTS_AT:id_at], packed[id_at : id_at + packed[_MID_LENGTH_AT + 1]]


def _instant_ms(packed: bytes, pos: i64) -> i64:
    """The last six bytes of an instant."""
    first: i64 = packed[pos]
    second: i64 = packed[pos + 1]
    third: i64 = packed[pos + 2]
    fourth: i64 = packed[pos + 3]
    fifth: i64 = packed[pos + 4]
    last: i64 = packed[pos + 5]
    return first << 40 | second << 32 | third << 24 | fourth << 16 | fifth << 8 | last


_Fields = tuple[int, int, int, int | None, str, str, str, str, str]


def _labels(packed: bytes) -> Iterator[_Fields]:
    """Instants, date and texts of each label, as they stand."""
    pos = 1
    while pos < len(packed):
        start, end, generated, date, *lengths = _HEAD.unpack_from(packed, pos)
        pos += _HEAD_BYTES
        texts = []
        for length in lengths:
            texts.append(packed[pos : pos + length].decode())
            pos += length
        mid, label_id, by, token, unique = texts
        yield (
            start,
            end,
            generated,
            None if date == _NO_DATE else date,
            mid,
            label_id,
            by,
            token,
            unique,
        )
