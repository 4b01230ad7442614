"""Why somebody gets an event, or does not: the parse, the grants considered, the outcome."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from schemas.reasons import BarcodeVerdict, QuarantineReason, Reason
from streams.errors import EmptyLogError
from streams.instants import format_instant

if TYPE_CHECKING:
    from streams.rights import RightsSnapshot
    from streams.settings import KafkaSettings, LayoutSettings

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
    """What would become of an event with this number, under the rights of the snapshot."""
    decided = Decided(asked.now_ms, snapshot.version, "")
    happened = (asked.channel, asked.now_ms, UTC)
    return _explained(number, number, snapshot, happened, decided, asked.tenant)


def explain_event(
    record: Any, snapshot: RightsSnapshot, decided: Decided, asked: Question
) -> dict[str, Any]:
    """What became (or would become) of one raw record."""
    from schemas.codec import MalformedRecordError, UnknownFrameError
    from schemas.event_reader import read_event

    place = f"{record.partition}:{record.offset}"
    try:
        facts = read_event(bytes(record.value or b""))
    except UnknownFrameError:
        return _quarantined(place, "", QuarantineReason.UNKNOWN_FRAME, decided)
    except MalformedRecordError:
        return _quarantined(place, "", QuarantineReason.MALFORMED_RECORD, decided)
    number = facts.barcode.decode("utf-8")
    if facts.channel == 0:
        return _quarantined(place, number, QuarantineReason.CHANNEL_UNKNOWN, decided)
    happened = (facts.channel, facts.event_time_ms, facts.time_basis)
    explained = _explained(place, number, snapshot, happened, decided, asked.tenant)
    explained["event"] = {
        "event_code": facts.event_code.decode("utf-8"),
        "event_time": format_instant(facts.event_time_ms),
        "facility_zip": facts.facility_zip.decode("utf-8"),
        "received": format_instant(record.timestamp),
    }
    return explained


def _explained(
    asked_for: str,
    number: str,
    snapshot: RightsSnapshot,
    happened: tuple[int, int, int],
    decided: Decided,
    tenant: str,
) -> dict[str, Any]:
    """`happened`: channel, event time and time basis, as in `Event`."""
    from streams.decision import Event

    channel = happened[0]
    barcode = _barcode(number)
    explained: dict[str, Any] = {
        "input": asked_for,
        "barcode": barcode,
        "event": None,
        "channel": CHANNEL_NAMES[channel].lower(),
        "decided": decided.as_record(),
        "grants": [],
        "tenants": [],
    }
    if barcode["verdict"] == BarcodeVerdict.NO_OWNER:
        return {**explained, "outcome": "withheld", "reason": Reason.LABEL_NEEDED.value}
    if barcode["verdict"] != BarcodeVerdict.OWNED:
        return {**explained, "outcome": "quarantined", "reason": barcode["reason"]}
    judged = snapshot.explain(Event(barcode["mid"], *happened, None), decided.at_ms)
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
        for one in judged
        if not tenant or one.grant.tenant_id == tenant
    ]
    tenants = _tenants(grants, tenant)
    allowed = any(row["outcome"] == "delivered" for row in tenants)
    reason = _furthest(row["reason"] for row in tenants)
    return {
        **explained,
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
    return {
        "input": place,
        "barcode": {
            "number": number,
            "verdict": "unread",
            "mid": "",
            "reason": reason.value,
            "readings": [],
        },
        "event": None,
        "channel": "unknown",
        "decided": decided.as_record(),
        "grants": [],
        "tenants": [],
        "outcome": "quarantined",
        "reason": reason.value,
    }


async def decided_at_position(
    kafka: KafkaSettings, layout: LayoutSettings, partition: int, offset: int
) -> Decided | None:
    """What the ledger says of a raw position; None when it has not been decided yet."""
    from aiokafka import TopicPartition

    from midgate.reading import reading, records_between
    from schemas.codec import decode

    place = TopicPartition(layout.topics.ledger, partition)
    async with reading(kafka) as consumer:
        consumer.assign([place])
        begin = (await consumer.beginning_offsets([place]))[place]
        end = (await consumer.end_offsets([place]))[place]
        for record in await records_between(consumer, place, begin, end):
            _, entry = decode(record.value)
            if entry["raw_from"] <= offset < entry["raw_next"]:
                return Decided(entry["decided_at"], entry["version"], entry["deliverer"])
    return None


async def rights_as_decided(
    kafka: KafkaSettings, layout: LayoutSettings, version: int
) -> RightsSnapshot:
    """The rights as they stood at a version: the log, read from its beginning up to it."""
    from aiokafka import TopicPartition

    from midgate.reading import reading, records_between
    from streams.rights import Rights

    place = TopicPartition(layout.topics.authorization, 0)
    rights = Rights()
    async with reading(kafka) as consumer:
        consumer.assign([place])
        for record in await records_between(consumer, place, 0, version):
            rights.apply(record.offset, record.timestamp, record.value)
    if not rights.version:
        raise EmptyLogError(f"{place.topic} is empty", hint="run `midgate topics apply`")
    return rights.snapshot(0.0)
