"""[core] What one raw record must lead to: deliveries, nothing with a reason, or quarantine.

Source: docs/authorization-log.md, "What the rights mean for one event" and "What stands in a
tenant topic".
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from auditor import avro_reader, entitlement
from auditor.barcodes import ownership
from auditor.contents import Record
from auditor.entitlement import Candidates, Entitlement, entitled
from auditor.labels import Entry, Labels
from auditor.log import Replay
from auditor.scan_reader import Scan, read_scan
from auditor.tally import Tally
from schemas.reasons import BarcodeVerdict, QuarantineReason, Reason

Header = tuple[str, bytes | None]
Headers = tuple[Header, ...]
EVENT_ID_BYTES = 12
MINUTE_MS = 60_000
# A plan takes some 600 bytes; without room, all are forgotten and worked out again.
PLANS_MAX = 100_000
FIRST, LAST = float("-inf"), float("inf")
Consideration = tuple[Scan | None, str, QuarantineReason | None]


@dataclass(frozen=True, slots=True)
class Due:
    """A record as it must stand in one topic and partition.

    `restricted_at` is where the raw value's restricted part begins, -1 where nothing is cut.
    """

    topic: str
    partition: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    restricted_at: int = -1


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that follows from one raw record.

    Exactly one of these holds: `due` has one record for each entitled tenant; `withheld` says why
    nobody gets it; `quarantined` says why it could not be decided. `awaits` names the tenants that
    wait for the label beside that, none if everybody does, and is None where nobody does.
    """

    due: dict[str, Due] = field(default_factory=dict)
    denied: dict[str, Reason] = field(default_factory=dict)
    withheld: Reason | None = None
    quarantined: QuarantineReason | None = None
    awaits: tuple[str, ...] | None = None


class Route(NamedTuple):
    """One tenant's part in a plan; `whole` gives the right to the restricted part."""

    tenant: str
    topic: str
    partitions: int
    grant: Header
    whole: bool


class Decision(NamedTuple):
    """What becomes of one event. `named_by`: the header of the label that named the owner.

    `awaits`: as in `Outcome`.
    """

    answer: Entitlement
    routes: list[Route]
    named_by: Header | None = None
    awaits: tuple[str, ...] | None = None


@dataclass(slots=True)
class Plan:
    """The answer for a MID and channel, which holds from `since` until before `until`.

    If the answer is not the same for any scan, each event asks anew (`Decider.decision`).
    """

    answer: Entitlement
    since: float
    until: float
    routes: list[Route]
    uses: int = 0
    named_by: Header | None = None


@dataclass(slots=True)
class Decider:
    """Decides raw records at the version and instant of one ledger entry after the other.

    Plans are remembered for as long as no accepted change of a right lies in between, and for
    the interval of time in which no instant of a right involved lies.
    """

    replay: Replay
    app_id: str
    labels: Labels
    only_tenant: str = ""
    number: int = 0
    tally: Tally = field(default_factory=Tally)
    candidates: Candidates = field(default_factory=Candidates)
    plans: dict[tuple[str, str], Plan] = field(default_factory=dict)
    now: int = 0
    label_position: int = -1
    source: Header = ("ce_source", b"")
    authz: Header = ("mg-authz", b"")
    _changes: int = -1

    def begin(self, version: int, now: int, label_position: int) -> None:
        """Go to an entry's version, which the replay has reached, instant and labels."""
        rights = self.replay.rights
        self.now = now
        self.label_position = label_position
        self.source = ("ce_source", f"/midgate/{self.app_id}".encode())
        self.authz = ("mg-authz", f"{rights.log_id[:8]}:{version}".encode())
        changes = self.replay.verdicts.get("accepted", 0)
        if changes != self._changes:
            self._changes = changes
            self.forget()
            self.candidates.refresh(rights.tables)

    def forget(self) -> None:
        """Drop the plans; what they were used for goes into the tally."""
        for plan in self.plans.values():
            self.tally.count(plan.answer, plan.uses, self.only_tenant)
        self.plans.clear()

    def plan(self, mid: str, channel: str) -> Plan:
        """The plan for the present version and instant."""
        known = self.plans.get((mid, channel))
        if known is not None:
            if known.since <= self.now < known.until:
                return known
            self.tally.count(known.answer, known.uses, self.only_tenant)
        elif len(self.plans) >= PLANS_MAX:
            self.forget()
        # Where the answer is the same for any scan, it is for this one.
        answer = entitled(self.candidates, mid, channel, self.now, entitlement.Scan(0, True))
        since, until = self._interval(mid)
        made = Plan(answer, since, until, self._routes(answer))
        self.plans[mid, channel] = made
        return made

    def decision(self, raw: Record, scan: Scan, mid: str) -> Decision:
        """What becomes of an event that a plan does not decide, or whose number names no owner."""
        if mid:
            answer = self._answer(mid, scan, None)
            if not answer.asks_label:
                return Decision(answer, self._routes(answer))
        pic = ownership(scan.barcode).pic
        label, reason = self.labels.covering(raw.partition, self.label_position, pic, scan)
        may_wait = reason is Reason.LABEL_NEEDED and self.label_position >= 0
        if mid:
            if label is not None:
                answer = self._answer(mid, scan, label)
            waits = may_wait and bool(answer.awaits)
            return Decision(answer, self._routes(answer), None, answer.awaits if waits else None)
        if label is None:
            return Decision(Entitlement(reason=reason), [], None, () if may_wait else None)
        answer = self._answer(label.mid, scan, label)
        named_by = f"{label.number}:{label.label_id}".encode()
        return Decision(answer, self._routes(answer), ("mg-label", named_by))

    def anew(self, raw: Record, scan: Scan, awaits: tuple[str, ...]) -> Decision:
        """What becomes of an event that waited: a delivery to those that wait, or none."""
        decision = self.decision(raw, scan, ownership(scan.barcode).mid)
        routes = decision.routes
        if awaits:
            routes = [route for route in routes if route.tenant in awaits]
        return decision._replace(routes=routes, awaits=None)

    def _answer(self, mid: str, scan: Scan, label: Entry | None) -> Entitlement:
        plan = self.plan(mid, scan.channel)
        if plan.answer.any_scan:
            return plan.answer
        proof = label and entitlement.Label(label.mid, label.generated_by, label.merchant_token_id)
        happened = entitlement.Scan(scan.event_time, scan.time_basis == "UTC", proof)
        return entitled(self.candidates, mid, scan.channel, self.now, happened)

    def _routes(self, answer: Entitlement) -> list[Route]:
        return [
            self._route(answer, tenant, grant_id)
            for tenant, grant_id in answer.allowed.items()
            if self.only_tenant in ("", tenant)
        ]

    def _route(self, answer: Entitlement, tenant_id: str, grant_id: str) -> Route:
        tenant = self.candidates.tables.tenants[tenant_id]
        grant = ("mg-grant", grant_id.encode())
        whole = gets_restricted(answer, tenant_id)
        return Route(tenant_id, tenant["topic"], tenant["partitions"], grant, whole)

    def _interval(self, mid: str) -> tuple[float, float]:
        """Between which instants the answer cannot change by time alone."""
        since, until, now = FIRST, LAST, self.now
        for record, body in self._bodies(mid):
            for name in avro_reader.instant_fields(record):
                instant = body[name]
                if instant is None:
                    continue
                if instant > now:
                    until = min(until, instant)
                elif instant > since:
                    since = instant
        return since, until

    def _bodies(self, mid: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Every record, and what kind it is, whose instants can count for a MID."""
        agreements = self.candidates.tables.agreements
        for grant in self.candidates.of(mid):
            yield "grant", grant
            if grant["agreement_id"]:
                yield "agreement", agreements[grant["agreement_id"]]
        for rules in self.candidates.tables.rule_sets:
            yield "rule_set", rules

    def outcome(self, raw: Record) -> Outcome:
        """What must follow from one raw record in its turn, written out."""
        scan, mid, reason = consider(raw)
        if scan is None or reason is not None:
            return Outcome(quarantined=reason)
        return self._written(raw, scan, self.decision(raw, scan, mid))

    def outcome_anew(self, raw: Record, awaits: tuple[str, ...]) -> Outcome:
        """What must follow from one that waited, when it is decided anew."""
        scan = read_scan(raw.value)
        assert isinstance(scan, Scan)  # it was read before it waited
        return self._written(raw, scan, self.anew(raw, scan, awaits))

    def _written(self, raw: Record, scan: Scan, decision: Decision) -> Outcome:
        answer = decision.answer
        event = event_id(ownership(scan.barcode).pic, scan)
        due = {
            route.tenant: self._due(raw, scan, route, event, decision.named_by)
            for route in decision.routes
        }
        withheld = None if answer.allowed else answer.reason
        return Outcome(due, answer.denied, withheld, awaits=decision.awaits)

    def _due(
        self, raw: Record, scan: Scan, route: Route, event: bytes, named_by: Header | None
    ) -> Due:
        assert raw.value is not None  # it was read as an event
        headers: Headers = (
            ("ce_specversion", b"1.0"),
            ("ce_type", b"org.midgate.scan.v1"),
            self.source,
            ("ce_id", f"{raw.partition}-{raw.offset}".encode()),
            ("mg-event", event),
            self.authz,
            *(() if named_by is None else (named_by,)),
            route.grant,
        )
        return Due(
            route.topic,
            raw.partition % route.partitions,
            raw.timestamp,
            raw.key,
            raw.value if route.whole else raw.value[: scan.restricted_at] + b"\0",
            headers,
            scan.restricted_at,
        )


def gets_restricted(answer: Entitlement, tenant_id: str) -> bool:
    """Whether a tenant's right carries the restricted part."""
    return tenant_id in answer.uncut


def consider(raw: Record) -> Consideration:
    """The event and its owner, none where a label names it; or why it is quarantined."""
    scan = read_scan(raw.value)
    if not isinstance(scan, Scan):
        return None, "", scan
    if scan.channel == "UNKNOWN":
        return None, "", QuarantineReason.CHANNEL_UNKNOWN
    owner = ownership(scan.barcode)
    if owner.verdict is BarcodeVerdict.OWNED:
        return scan, owner.mid, None
    if owner.verdict is BarcodeVerdict.NO_OWNER:
        return scan, "", None
    return scan, "", QuarantineReason(owner.reason)


def event_id(pic: str, scan: Scan) -> bytes:
    """Most likely the same scan: BLAKE2b of 12 bytes over PIC, code, minute and ZIP5."""
    parts = f"{pic}\x1f{scan.event_code}\x1f{scan.event_time // MINUTE_MS}\x1f{scan.facility_zip}"
    return hashlib.blake2b(parts.encode(), digest_size=EVENT_ID_BYTES).digest()


def quarantine_due(topic: str, raw: Record, reason: QuarantineReason) -> Due:
    """The raw record as it must stand in quarantine."""
    headers = (
        *raw.headers,
        ("mg-reason", reason.value.encode()),
        ("mg-origin", f"raw:{raw.partition}-{raw.offset}".encode()),
    )
    return Due(topic, raw.partition, raw.timestamp, raw.key, raw.value, headers)
