"""The labels of an event, for the naive judge: written to be seen to be right."""

from typing import Any

from auditor.avro_reader import UnreadableError, read, read_scan
from auditor.barcodes import ownership
from auditor.contents import Contents, Record

HOUR_MS = 3_600_000


def pic_of(raw: Record) -> str:
    return ownership(read_scan(raw.value).fields["barcode"]).pic


def labels_for(world: Contents, raw: Record, position: int) -> list[tuple[int, dict[str, Any]]]:
    """The label that covers an event, with its place in the history; two or more: which is open."""
    scan = read_scan(raw.value).fields
    history = labels_of(world, raw.partition, position, pic_of(raw))
    return [one for one in history if fits(one, scan, history)]


def labels_of(
    world: Contents, partition: int, position: int, pic: str
) -> list[tuple[int, dict[str, Any]]]:
    """The history of a number as known at a position: each label with its place in it."""
    history: list[dict[str, Any]] = []
    for record in world.labels.records():
        if (record.partition, record.key) != (partition, pic.encode()):
            continue
        if record.offset < position:
            if record.value is None:
                history = []
                continue
            try:
                name, body = read(record.value)
            except UnreadableError:
                continue
            if name == "label" and body["pic"] == pic and all(map(in_years, body["entries"])):
                history = body["entries"]
    return list(enumerate(history))


def in_years(label: dict[str, Any]) -> bool:
    """Instants from the year 1 to 9999, and so the date."""
    instants = [label["generated_at"], label["valid_from"], label["valid_to"]]
    day = label["mailing_date"]
    in_time = all(-62_135_596_800_000 <= one <= 253_402_300_799_999 for one in instants)
    return in_time and (day is None or -719_162 <= day <= 2_932_896)


def fits(
    numbered: tuple[int, dict[str, Any]],
    scan: dict[str, Any],
    history: list[tuple[int, dict[str, Any]]],
) -> bool:
    """Whether a label counts as one that the scan may be of."""
    date, unique = scan["mailing_date"], scan["unique_tracking_id"] or ""
    label = numbered[1]
    if date is not None or unique:
        both = []
        if date is not None and label["mailing_date"] is not None:
            both.append(date == label["mailing_date"])
        if unique and label["unique_tracking_id"]:
            both.append(unique == label["unique_tracking_id"])
        return bool(both) and all(both)
    time = scan["event_time"]
    zones = [0] if scan["time_basis"] == "UTC" else range(-14 * HOUR_MS, 12 * HOUR_MS + 1)
    first, last = time + zones[0], time + zones[-1]

    def holds(one: dict[str, Any], instant: int) -> bool:
        return bool(one["valid_from"] <= instant < one["valid_to"])

    def is_possible(one: dict[str, Any]) -> bool:
        # A window that holds an instant of a range holds its ends, or begins within it.
        begins = one["valid_from"]
        ends = [first, last, *([begins] if first <= begins <= last else [])]
        return any(holds(one, instant) for instant in ends)

    others = [one for _, one in history if one is not label and is_possible(one)]
    if not is_possible(label):
        return False
    return bool(others) or (holds(label, first) and holds(label, last))
