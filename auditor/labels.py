"""[core] The label of an event: which of a number's labels, as known at a position, covers it.

Source: docs/authorization-log.md, "The label of an event".

Bound: the histories of `NUMBERS_REMEMBERED_MAX` numbers; all labels of a partition are on disk from
the first time that one of it is asked for.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from auditor import avro_reader
from auditor.contents import Partition, Record, Topic
from auditor.entitlement import EASTERNMOST_HOURS, HOUR_MS, WESTERNMOST_HOURS
from auditor.findings import FindingKind, Findings
from auditor.scan_reader import Scan
from schemas.reasons import Reason

NUMBERS_REMEMBERED_MAX = 20_000
BOUNDS = {
    "generated_at": avro_reader.LOGICAL_BOUNDS["timestamp-millis"],
    "valid_from": avro_reader.LOGICAL_BOUNDS["timestamp-millis"],
    "valid_to": avro_reader.LOGICAL_BOUNDS["timestamp-millis"],
    "mailing_date": avro_reader.LOGICAL_BOUNDS["date"],
}


class Entry(NamedTuple):
    """One label of a number; `number` is its place in the history, `valid_to` is excluded."""

    number: int
    label_id: str
    mid: str
    generated_by: str
    merchant_token_id: str
    valid_from: int
    valid_to: int
    mailing_date: int | None
    unique_tracking_id: str


class Covering(NamedTuple):
    """The label that covers a scan, or why there is none."""

    label: Entry | None
    reason: Reason


NEEDED = Covering(None, Reason.LABEL_NEEDED)
AMBIGUOUS = Covering(None, Reason.LABEL_AMBIGUOUS)
Row = tuple[int, str, bytes | None]
Version = tuple[int, list[Entry]]


class LabelStore(Protocol):
    """Where all labels of a partition are kept (`auditor/hold_spill.py`)."""

    def load(self, partition: int, rows: Iterable[Row]) -> None:
        """Keep offset, PIC and value of a partition's records, in order."""
        ...

    def of(self, partition: int, pic: str) -> list[tuple[int, bytes | None]]:
        """Offset and value of every record of a number, in order."""
        ...


@dataclass(slots=True)
class Labels:
    """The labels topic, each partition read when it is first asked for."""

    topic: Topic
    store: LabelStore
    findings: Findings
    _stops: dict[int, float] = field(default_factory=dict)
    _known: dict[tuple[int, str], list[Version]] = field(default_factory=dict)

    def end(self, partition: int) -> int:
        """The highest position that anybody can have had."""
        held = self.topic.partitions.get(partition)
        return 0 if held is None else held.end

    def covering(self, partition: int, position: int, pic: str, scan: Scan) -> Covering:
        """The label that covers a scan of this number, as known at a position."""
        self.load(partition, position)
        place = (partition, pic)
        versions = self._known.get(place)
        if versions is None:
            if len(self._known) >= NUMBERS_REMEMBERED_MAX:
                self._known.clear()
            versions = self._known[place] = list(self._effective(partition, pic))
        history: list[Entry] = []
        for offset, entries in versions:
            if offset < position:
                history = entries
        return covering(history, scan)

    def load(self, partition: int, position: int) -> None:
        """Have a partition's labels; a finding, once, if a record below `position` stops all."""
        stops_at = self._stops.get(partition)
        if stops_at is None:
            self._stops[partition] = stops_at = float("inf")
            held = self.topic.partitions.get(partition, Partition())
            self.store.load(partition, self._rows(partition, held))
            stops_at = self._stops[partition]
        if stops_at < position:
            self._stops[partition] = float("inf")
            self.findings.add(
                FindingKind.LABELS_STOPPED,
                f"a label of a version not known stands here; decided at position {position}",
                topic=self.topic.name,
                partition=partition,
                offset=int(stops_at),
            )

    def _rows(self, partition: int, held: Partition) -> Iterator[Row]:
        for piece in held.pieces():
            for record in piece:
                pic = _pic(record)
                if pic is None:
                    continue
                if _is_of_the_future(record.value):
                    self._stops[partition] = min(self._stops[partition], record.offset)
                else:
                    yield record.offset, pic, record.value

    def _effective(self, partition: int, pic: str) -> Iterator[Version]:
        for offset, value in self.store.of(partition, pic):
            entries = read_history(pic, value)
            if entries is not None:
                yield offset, entries


def _pic(record: Record) -> str | None:
    """The number a label record is about; None for what is no label."""
    key = record.key
    return key.decode("ascii") if key is not None and key.isalnum() else None


def _is_of_the_future(value: bytes | None) -> bool:
    try:
        avro_reader.frame_of(value)
    except avro_reader.UnknownFrameError:
        return True
    except avro_reader.UnreadableError:
        return False
    return False


def read_history(pic: str, value: bytes | None) -> list[Entry] | None:
    """The labels that a record with this key says; None where it has no effect."""
    if value is None:
        return []
    try:
        name, body = avro_reader.read(value)
    except avro_reader.UnreadableError:
        return None
    if name != "label" or body["pic"] != pic:
        return None
    if not all(_is_in_bounds(entry) for entry in body["entries"]):
        return None
    return [
        Entry(
            number,
            entry["label_id"],
            entry["mid"],
            entry["generated_by"],
            entry["merchant_token_id"],
            entry["valid_from"],
            entry["valid_to"],
            entry["mailing_date"],
            entry["unique_tracking_id"],
        )
        for number, entry in enumerate(body["entries"])
    ]


def _is_in_bounds(entry: dict[str, Any]) -> bool:
    return all(
        entry[name] is None or low <= entry[name] <= high for name, (low, high) in BOUNDS.items()
    )


def covering(history: list[Entry], scan: Scan) -> Covering:
    """The one label of a history that the scan is of."""
    if scan.mailing_date is not None or scan.unique_tracking_id != "":
        fitting = [label for label in history if _is_same_piece(label, scan)]
    else:
        earliest = latest = scan.event_time
        if scan.time_basis != "UTC":
            earliest -= EASTERNMOST_HOURS * HOUR_MS
            latest += WESTERNMOST_HOURS * HOUR_MS
        fitting = [
            label
            for label in history
            if max(earliest, label.valid_from) < min(latest + 1, label.valid_to)
        ]
        if len(fitting) == 1:
            label = fitting[0]
            if earliest < label.valid_from or latest >= label.valid_to:
                return NEEDED
    if not fitting:
        return NEEDED
    return AMBIGUOUS if len(fitting) > 1 else Covering(fitting[0], Reason.ALLOWED)


def _is_same_piece(label: Entry, scan: Scan) -> bool:
    agreed = 0
    if scan.mailing_date is not None and label.mailing_date is not None:
        if scan.mailing_date != label.mailing_date:
            return False
        agreed += 1
    if scan.unique_tracking_id != "" and label.unique_tracking_id != "":
        if scan.unique_tracking_id != label.unique_tracking_id:
            return False
        agreed += 1
    return agreed > 0
