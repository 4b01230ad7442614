"""[core] The record of `<prefix>.labels`: a PIC's whole history, read, compared and added to.

Key: the PIC. Value: a framed `Label`. An entry never changes, and a later record of the key holds
all entries of the one before, in the same order, and perhaps more: so an index means one label.
Several readers of a number can therefore name a label by id and index, and any of them can see by
the record alone what another has seen.

The local store keeps a history packed (`streams/packed_labels.py`).
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from schemas.codec import MalformedRecordError, decode, encode
from streams.label_facts import LabelEntry

# A number that is used again every few months for as long as labels are kept has a dozen; a label
# record has to fit a message.
ENTRIES_MAX = 1_000


class Label(NamedTuple):
    """A label as it is registered; instants are Unix ms, UTC, `valid_to_ms` is exclusive."""

    label_id: str
    mid: str
    generated_by: str
    merchant_token_id: str
    generated_at_ms: int
    valid_from_ms: int
    valid_to_ms: int
    mailing_date: int | None
    unique_tracking_id: str


class LabelConflictError(ValueError):
    """A label id that the history knows with other content, or a history that is full."""

    def __init__(self, label_id: str, expected: str) -> None:
        super().__init__(f"label {label_id}: {expected}")
        self.label_id = label_id
        self.expected = expected


def encode_history(pic: str, labels: Sequence[Label]) -> bytes:
    """Framed bytes of a history. ValueError when something does not fit the schema."""
    entries = [
        {
            "label_id": label.label_id,
            "mid": label.mid,
            "generated_by": label.generated_by,
            "merchant_token_id": label.merchant_token_id,
            "generated_at": label.generated_at_ms,
            "valid_from": label.valid_from_ms,
            "valid_to": label.valid_to_ms,
            "mailing_date": label.mailing_date,
            "unique_tracking_id": label.unique_tracking_id,
        }
        for label in labels
    ]
    return encode("label", {"pic": pic, "entries": entries})


def decode_history(pic: str, value: bytes) -> list[Label]:
    """Labels of a record with this key, in order.

    Raises MalformedRecordError for bytes that are no label record of this PIC, and
    UnknownFrameError for those of a version this build does not know.
    """
    return [
        Label(
            entry["label_id"],
            entry["mid"],
            entry["generated_by"],
            entry["merchant_token_id"],
            entry["generated_at"],
            entry["valid_from"],
            entry["valid_to"],
            entry["mailing_date"],
            entry["unique_tracking_id"],
        )
        for entry in _entries(pic, value)
    ]


def read_entries(pic: str, value: bytes) -> list[LabelEntry]:
    """The same record as a decision reads it; raises as `decode_history`."""
    return [
        LabelEntry(
            entry["label_id"],
            index,
            entry["mid"],
            entry["generated_by"],
            entry["merchant_token_id"],
            entry["valid_from"],
            entry["valid_to"],
            entry["mailing_date"],
            entry["unique_tracking_id"],
        )
        for index, entry in enumerate(_entries(pic, value))
    ]


def _entries(pic: str, value: bytes) -> list[dict[str, Any]]:
    name, record = decode(value)
    if name != "label":
        raise MalformedRecordError(f"a {name}, not a label")
    if record["pic"] != pic:
        raise MalformedRecordError(f"label: pic is not the key {pic}")
    entries: list[dict[str, Any]] = record["entries"]
    return entries


def merged(known: Sequence[Label], added: Iterable[Label]) -> list[Label]:
    """The history with what it did not hold yet at its end; the same label again adds nothing.

    Raises LabelConflictError for an id that is known with other content.
    """
    history = list(known)
    by_id = {label.label_id: label for label in history}
    for label in added:
        found = by_id.get(label.label_id)
        if found is None:
            by_id[label.label_id] = label
            history.append(label)
        elif found != label:
            different = ", ".join(
                name
                for name, mine, theirs in zip(Label._fields, label, found, strict=True)
                if mine != theirs
            )
            raise LabelConflictError(
                label.label_id, f"an id that is not known with another {different}"
            )
    if len(history) > ENTRIES_MAX:
        raise LabelConflictError(history[-1].label_id, f"at most {ENTRIES_MAX} labels of a number")
    return history
