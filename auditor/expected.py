"""[core] What one raw record must lead to: deliveries, nothing with a reason, or quarantine.

Source: docs/authorization-log.md, "What the rights mean for one event" and "What stands in a
tenant topic".
"""

import hashlib
from dataclasses import dataclass, field
from typing import Any

from auditor import avro_reader
from auditor.barcodes import ownership
from auditor.contents import Record
from auditor.entitlement import Candidates, Entitlement, Scan, entitled
from schemas.reasons import BarcodeVerdict, QuarantineReason, Reason

Headers = tuple[tuple[str, bytes | None], ...]
SEPARATOR = b"\x1f"
EVENT_ID_BYTES = 12
MINUTE_MS = 60_000


@dataclass(frozen=True, slots=True)
class Due:
    """A record as it must stand in one topic and partition."""

    topic: str
    partition: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that follows from one raw record.

    Exactly one of these holds: `due` has one record for each entitled tenant; `withheld` says why
    nobody gets it; `quarantined` says why it could not be decided.
    """

    due: dict[str, Due] = field(default_factory=dict)
    denied: dict[str, Reason] = field(default_factory=dict)
    withheld: Reason | None = None
    quarantined: QuarantineReason | None = None


@dataclass(slots=True)
class Decider:
    """Decides raw records at one version and one instant, as one ledger entry says.

    `answers` is kept for exactly this version and instant, so it needs no key for either.
    """

    candidates: Candidates
    app_id: str
    log_id: str
    version: int
    now: int
    answers: dict[tuple[str, str], Entitlement] = field(default_factory=dict)

    def outcome(self, raw: Record) -> Outcome:
        """What must follow from one raw record."""
        try:
            scan = avro_reader.read_scan(raw.value)
        except avro_reader.UnknownFrameError:
            return Outcome(quarantined=QuarantineReason.UNKNOWN_FRAME)
        except avro_reader.UnreadableError:
            return Outcome(quarantined=QuarantineReason.MALFORMED_RECORD)
        channel = scan.fields["channel"]
        if channel == "UNKNOWN":
            return Outcome(quarantined=QuarantineReason.CHANNEL_UNKNOWN)
        owner = ownership(scan.fields["barcode"])
        if owner.verdict is BarcodeVerdict.NO_OWNER:
            return Outcome(withheld=Reason.LABEL_NEEDED)
        if owner.verdict is not BarcodeVerdict.OWNED:
            return Outcome(quarantined=QuarantineReason(owner.reason))
        happened = Scan(scan.fields["event_time"], scan.fields["time_basis"] == "UTC")
        answer = self._answer(owner.mid, channel, happened)
        if not answer.allowed:
            return Outcome(denied=answer.denied, withheld=answer.reason)
        assert raw.value is not None  # read_scan refused it otherwise
        cut = raw.value[: scan.restricted_at] + b"\0"
        event = event_id(owner.pic, scan.fields)
        due = {
            tenant: self._due(
                raw, tenant, grant_id, raw.value if tenant in answer.uncut else cut, event
            )
            for tenant, grant_id in answer.allowed.items()
        }
        return Outcome(due=due, denied=answer.denied)

    def _answer(self, mid: str, channel: str, scan: Scan) -> Entitlement:
        known = self.answers.get((mid, channel))
        if known is None:
            known = entitled(self.candidates, mid, channel, self.now, scan)
            if known.any_scan:
                self.answers[mid, channel] = known
        return known

    def _due(self, raw: Record, tenant_id: str, grant_id: str, value: bytes, event: bytes) -> Due:
        tenant = self.candidates.tables.tenants[tenant_id]
        headers: Headers = (
            ("ce_specversion", b"1.0"),
            ("ce_type", b"org.midgate.scan.v1"),
            ("ce_source", f"/midgate/{self.app_id}".encode()),
            ("ce_id", f"{raw.partition}-{raw.offset}".encode()),
            ("mg-event", event),
            ("mg-authz", f"{self.log_id[:8]}:{self.version}".encode()),
            ("mg-grant", grant_id.encode()),
        )
        return Due(
            tenant["topic"],
            raw.partition % tenant["partitions"],
            raw.timestamp,
            raw.key,
            value,
            headers,
        )


def event_id(pic: str, fields: dict[str, Any]) -> bytes:
    """Most likely the same scan: BLAKE2b of 12 bytes over PIC, code, minute and ZIP5."""
    parts = (
        pic.encode(),
        fields["event_code"].encode(),
        str(fields["event_time"] // MINUTE_MS).encode(),
        fields["facility_zip"].encode(),
    )
    return hashlib.blake2b(SEPARATOR.join(parts), digest_size=EVENT_ID_BYTES).digest()


def quarantine_due(topic: str, raw: Record, reason: QuarantineReason) -> Due:
    """The raw record as it must stand in quarantine."""
    headers = (
        *raw.headers,
        ("mg-reason", reason.value.encode()),
        ("mg-origin", f"raw:{raw.partition}-{raw.offset}".encode()),
    )
    return Due(topic, raw.partition, raw.timestamp, raw.key, raw.value, headers)
