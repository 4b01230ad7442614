"""The small installation with labels, and with events that waited for one."""

from typing import Any

from auditor.avro_reader import encode
from auditor.contents import Contents, Record
from tests.unit.auditor.world import (
    LABEL_NEEDED,
    NOW,
    OWNED_MID,
    RAW,
    clean,
    delivered,
    ledger_record,
    ledger_value,
    raw_record,
    records,
    scan_value,
    topic,
)

DAY_MS = 86_400_000


def label(label_id: str, **fields: Any) -> dict[str, Any]:
    """A label of Acme's MID that covers the small installation's scans; `fields` differ."""
    return {
        "label_id": label_id,
        "mid": OWNED_MID,
        "generated_by": "acme",
        "merchant_token_id": "",
        "generated_at": NOW,
        "valid_from": NOW - 10 * DAY_MS,
        "valid_to": NOW + 10 * DAY_MS,
        "mailing_date": None,
        "unique_tracking_id": "",
        **fields,
    }


def label_record(partition: int, offset: int, pic: str, *labels: dict[str, Any]) -> Record:
    """A number's history."""
    value = encode("label/v1", {"pic": pic, "entries": list(labels)})
    return Record(partition, offset, NOW, pic.encode(), value)


def labelled(prefix: str = "m") -> Contents:
    """The same with labels, everything as it must be.

    Raw 0-1 waited, its label came, and the next entry decided it anew before raw 0-2. Raw 1-3
    waited and was given up by an entry without raw; 1-4 found no room.
    """
    world = clean(prefix)
    numbered = raw_record(0, 1, scan_value(LABEL_NEEDED))
    nobodys = [raw_record(1, offset, scan_value(LABEL_NEEDED)) for offset in (3, 4)]
    world.raw = topic(f"{prefix}.raw", {0: RAW[0], 1: [*RAW[1], *nobodys]})
    mark = Record(0, 1, NOW, b"writer.mark", b"nonce")
    known = [label_record(0, 0, LABEL_NEEDED, label("l0")), mark]
    world.labels = topic(f"{prefix}.labels", {0: known, 1: []})
    at = {"decided_at": NOW + 10, "label_position": 1}
    world.ledger = topic(
        f"{prefix}.ledger",
        {
            0: [
                ledger_record(0, 0, ledger_value(0, 0, 2, label_position=0)),
                ledger_record(0, 2, ledger_value(0, 2, 4, decided_anew=[1], hold_ms=9, **at)),
            ],
            1: [
                ledger_record(1, 0, ledger_value(1, 0, 3, label_position=0)),
                ledger_record(1, 2, no_room()),
                ledger_record(1, 4, gives_up()),
            ],
        },
    )
    acme, globex = (
        records(world, f"{prefix}.tenant.acme"),
        records(world, f"{prefix}.tenant.globex"),
    )
    acme.insert(2, delivered(0, 2, numbered, "g-acme", LABEL_NEEDED, named_by=b"0:l0"))
    globex.insert(1, delivered(0, 1, numbered, "g-globex", LABEL_NEEDED, named_by=b"0:l0"))
    return world


def no_room(**fields: Any) -> bytes:
    """The entry of raw partition 1 that holds 1-3 for ten seconds and has no room for 1-4."""
    told = {"not_held": [4], "hold_ms": 10_000, "label_position": 0}
    return ledger_value(1, 3, 5, **{**told, **fields})


def gives_up(**fields: Any) -> bytes:
    """The entry that gives 1-3 up, ten seconds later."""
    told = {"given_up": [3], "hold_ms": 10_000, "label_position": 0, "decided_at": NOW + 10_000}
    return ledger_value(1, 5, 5, **{**told, **fields})
