"""Why somebody gets an event, or does not: parse, owner, label, grants considered, outcome."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from schemas.reasons import BarcodeVerdict, QuarantineReason, Reason
from streams.instants import format_instant

if TYPE_CHECKING:
    from schemas.event_reader import EventFacts
    from streams.decision import Event
    from streams.label_facts import Covering, LabelEntry
    from streams.rights import RightsSnapshot

CHANNEL_NAMES = ("UNKNOWN", "API", "WEBHOOK", "SEE")
READING_PARTS = ("routing", "ai", "stc", "mid", "serial", "check_digit")
UTC = 1
ORDER = {reason: number for number, reason in enumerate(Reason)}


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: for whom ("" for all), on which channel (its index), at which instant."""

    tenant: str
    channel: int
    now_ms: int


@dataclass(frozen=True, slots=True)
class Decided:
    """When and under which version a record was decided; deliverer "" when it was not yet."""

    at_ms: int
    version: int
    deliverer: str

    @classmethod
    def by(cls, entry: dict[str, Any]) -> Decided:
        """As a ledger entry says."""
        return cls(entry["decided_at"], entry["version"], entry["deliverer"])

    def as_record(self) -> dict[str, Any]:
        """For JSON and for people."""
        if self.deliverer:
            sentence = (
                f"decided at {format_instant(self.at_ms)} under version {self.version}"
                f" by {self.deliverer}"
            )
        else:
            sentence = f"if decided at {format_instant(self.at_ms)} under version {self.version}"
        return {
            "at": format_instant(self.at_ms),
            "version": self.version,
            "deliverer": self.deliverer,
            "sentence": sentence,
        }


def explain_barcode(number: str, snapshot: RightsSnapshot, asked: Question) -> dict[str, Any]:
    """What would become of an event with this number, under the rights of the snapshot.

    Such an event has no time of its own, so no label covers it.
    """
    from streams.decision import Event

    decided = Decided(asked.now_ms, snapshot.version, "")
    head = _head(number, number, asked.channel, decided)
    barcode = head["barcode"]
    if barcode["verdict"] == BarcodeVerdict.NO_OWNER:
        return {**head, "outcome": "withheld", "reason": Reason.LABEL_NEEDED.value}
    if barcode["verdict"] != BarcodeVerdict.OWNED:
        return {**head, "outcome": "quarantined", "reason": barcode["reason"]}
    event = Event(barcode["mid"], asked.channel, asked.now_ms, UTC, None)
    return {**head, **_judged(event, snapshot, decided.at_ms, asked.tenant)}


def explain_event(
    record: Any,
    snapshot: RightsSnapshot,
    decided: Decided,
    asked: Question,
    history: Sequence[LabelEntry] | None = None,
) -> dict[str, Any]:
    """What became (or would become) of one raw record.

    `history`: the labels of its number that were known when it was decided; None: not looked up,
    as few events need one (`needs_label`).
    """
    from schemas.codec import MalformedRecordError, UnknownFrameError
    from schemas.event_reader import read_event
    from schemas.piece import read_piece
    from streams.decision import Event
    from streams.label_facts import Scan, covering

    place = f"{record.partition}:{record.offset}"
    value = bytes(record.value or b"")
    try:
        facts = read_event(value)
    except UnknownFrameError:
        return _quarantined(place, "", QuarantineReason.UNKNOWN_FRAME, decided)
    except MalformedRecordError:
        return _quarantined(place, "", QuarantineReason.MALFORMED_RECORD, decided)
    number = facts.barcode.decode("utf-8")
    if facts.channel == 0:
        return _quarantined(place, number, QuarantineReason.CHANNEL_UNKNOWN, decided)
    covered = covering(
        history or (), Scan(facts.event_time_ms, facts.time_basis, *read_piece(value))
    )
    head = {
        **_head(place, number, facts.channel, decided),
        "event": _event(record, facts),
        "label": None if history is None else _label(len(history), covered),
    }
    barcode, label = head["barcode"], covered.label
    mid = barcode["mid"]
    if barcode["verdict"] == BarcodeVerdict.NO_OWNER:
        if label is None:
            return {**head, "outcome": "withheld", "reason": covered.reason.value}
        mid = label.mid
    elif barcode["verdict"] != BarcodeVerdict.OWNED:
        return {**head, "outcome": "quarantined", "reason": barcode["reason"]}
    event = Event(mid, facts.channel, facts.event_time_ms, facts.time_basis, label)
    return {**head, **_judged(event, snapshot, decided.at_ms, asked.tenant)}


def needs_label(explained: dict[str, Any]) -> bool:
    """Whether a label decides about the owner, or about a grant that else would allow."""
    reasons = {grant["reason"] for grant in explained["grants"]}
    return (
        explained["reason"] == Reason.LABEL_NEEDED or Reason.MERCHANT_TOKEN_MISSING.value in reasons
    )


def _head(asked_for: str, number: str, channel: int, decided: Decided) -> dict[str, Any]:
    return {
        "input": asked_for,
        "barcode": _barcode(number),
        "event": None,
        "label": None,
        "channel": CHANNEL_NAMES[channel].lower(),
        "decided": decided.as_record(),
        "owner": "",
        "grants": [],
        "tenants": [],
    }


def _event(record: Any, facts: EventFacts) -> dict[str, Any]:
    from schemas.barcode import owner
    from schemas.event_id import event_id

    return {
        "position": f"{record.partition}:{record.offset}",
        "event_id": event_id(owner(facts.barcode).pic, facts).hex(),
        "event_code": facts.event_code.decode("utf-8"),
        "event_time": format_instant(facts.event_time_ms),
        "facility_zip": facts.facility_zip.decode("utf-8"),
        "received": format_instant(record.timestamp),
    }


def _label(known: int, covered: Covering) -> dict[str, Any]:
    """Which label was considered: the one of the piece, or why there is none."""
    label = covered.label
    if label is None:
        return {"known": known, "label": None, "reason": covered.reason.value}
    said = label._asdict()
    for name in ("valid_from_ms", "valid_to_ms"):
        said[name.removesuffix("_ms")] = format_instant(said.pop(name))
    return {"known": known, "label": said, "reason": ""}


def _judged(event: Event, snapshot: RightsSnapshot, now_ms: int, tenant: str) -> dict[str, Any]:
    """Every grant considered, and what follows for each tenant."""
    grants = [
        {
            "tenant": one.grant.tenant_id,
            "grant": one.grant.grant_id,
            "basis": one.grant.basis,
            "reason": one.reason.value,
            "restricted": one.restricted,
            "billing": one.billing.value if one.billing else "",
            "scope": one.grant.mid or f"CRID {one.grant.crid}",
            "channels": [name.lower() for name in one.grant.channels],
            "changed_at": one.grant.changed_at,
        }
        for one in snapshot.explain(event, now_ms)
        if not tenant or one.grant.tenant_id == tenant
    ]
    tenants = _tenants(grants, tenant)
    allowed = any(row["outcome"] == "delivered" for row in tenants)
    reason = _furthest(row["reason"] for row in tenants)
    return {
        "owner": event.mid,
        "grants": grants,
        "tenants": tenants,
        "outcome": "delivered" if allowed else "withheld",
        "reason": reason.value,
    }


def _tenants(grants: list[dict[str, Any]], asked: str) -> list[dict[str, Any]]:
    """Each tenant's outcome: delivered under an allowed grant, else its furthest reason."""
    names = sorted({grant["tenant"] for grant in grants} | ({asked} if asked else set()))
    rows = []
    for name in names:
        reason = _furthest(grant["reason"] for grant in grants if grant["tenant"] == name)
        outcome = "delivered" if reason is Reason.ALLOWED else "denied"
        rows.append({"tenant": name, "outcome": outcome, "reason": reason.value})
    return rows


def _furthest(reasons: Iterable[str]) -> Reason:
    """The reason furthest along; `no_grant` of none."""
    return max(map(Reason, reasons), key=ORDER.__getitem__, default=Reason.NO_GRANT)


def _barcode(number: str) -> dict[str, Any]:
    from schemas.barcode import read

    report = read(number)
    return {
        "number": number,
        "verdict": report.verdict.value,
        "mid": report.mid or "",
        "reason": report.reason,
        "readings": [
            {name: getattr(reading, name) for name in READING_PARTS} for reading in report.readings
        ],
    }


def _quarantined(
    place: str, number: str, reason: QuarantineReason, decided: Decided
) -> dict[str, Any]:
    unread = {"number": number, "verdict": "unread", "mid": "", "reason": reason.value}
    return {
        **_head(place, "", 0, decided),
        "barcode": {**unread, "readings": []},
        "outcome": "quarantined",
        "reason": reason.value,
    }
