"""[core] Who is entitled to an event at an instant, and if nobody, why.

Source: docs/authorization-log.md, "What the rights mean for one event".
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

from auditor.structure import Tables, subject_of
from schemas.reasons import Billing, Reason

# The page's numbers: a higher one is further along. NO_GRANT is below all.
NUMBER = {
    Reason.NO_GRANT: 0,
    Reason.TENANT_CLOSED: 1,
    Reason.RIGHT_REVOKED: 2,
    Reason.GRANT_REVOKED: 3,
    Reason.BASIS_NOT_FOR_PARTY: 4,
    Reason.CHANNEL_NOT_GRANTED: 5,
    Reason.BASIS_NOT_FOR_CHANNEL: 6,
    Reason.GRANT_PENDING: 7,
    Reason.GRANT_NOT_YET: 8,
    Reason.GRANT_EXPIRED: 9,
    Reason.TERMS_NOT_ACCEPTED: 10,
    Reason.AGREEMENT_PENDING: 11,
    Reason.AGREEMENT_SUSPENDED: 12,
    Reason.AGREEMENT_NOT_YET: 13,
    Reason.AGREEMENT_EXPIRED: 14,
    Reason.AGREEMENT_MID_NOT_LISTED: 15,
    Reason.MERCHANT_TOKEN_ENDED: 16,
    Reason.DATA_WINDOW: 17,
    Reason.MERCHANT_TOKEN_MISSING: 18,
    Reason.LABEL_NOT_GENERATED: 19,
    Reason.ALLOWED: 20,
}
BASIS_ORDER = ("OWNER", "MERCHANT_TOKEN", "MID_AUTHORIZATION", "IP_AGREEMENT")
HOUR_MS = 3_600_000
EASTERNMOST_HOURS, WESTERNMOST_HOURS = 14, 12
# 2026-04-01T00:00:00Z
USPS_METERED_FROM = 1_775_001_600_000


class Rule(NamedTuple):
    """What a basis gives a party type."""

    channels: tuple[str, ...]
    restricted: bool
    metered: bool


SHIPPERS: dict[str, Rule] = {"OWNER": Rule(("API", "WEBHOOK", "SEE"), True, False)}
PLATFORMS: dict[str, Rule] = {
    "MERCHANT_TOKEN": Rule(("API", "WEBHOOK"), True, False),
    "MID_AUTHORIZATION": Rule(("SEE",), True, False),
}
SERVICES: dict[str, Rule] = {"IP_AGREEMENT": Rule(("API", "WEBHOOK", "SEE"), False, False)}
PAYING: dict[str, Rule] = {"IP_AGREEMENT": Rule(("API", "WEBHOOK", "SEE"), False, True)}
USPS_RULES: dict[str, dict[str, Rule]] = {
    "SHIPPER": SHIPPERS,
    "PLATFORM": PLATFORMS,
    "LABEL_PROVIDER": PLATFORMS,
    "CONSOLIDATOR": PLATFORMS,
    "SERVICE_PROVIDER": SERVICES,
    "AUDITOR": PAYING,
    "SOFTWARE_VENDOR": PAYING,
    "TRACKING_ANALYTICS_VENDOR": PAYING,
    "PUBLIC_TRACKING_WEBSITE": PAYING,
    "CONSUMER_BUSINESS": PAYING,
}


class Label(NamedTuple):
    """The label that covers a scan."""

    mid: str
    generated_by: str
    merchant_token_id: str


class Scan(NamedTuple):
    """When it happened, by UTC or by some local clock; the label, if exactly one covers it."""

    time: int
    utc: bool
    label: Label | None = None


class Judgement(NamedTuple):
    """What one grant says; the last two only if it allows."""

    reason: Reason
    restricted: bool = False
    billing: Billing | None = None


@dataclass(frozen=True, slots=True)
class Entitlement:
    """Tenants that get the event with the grant named for each, and why the others do not.

    `uncut`: those that get the restricted part, too. `any_scan`: the answer is the same for every
    scan of this MID and channel. `asks_label`: a grant with a token would allow if the right label
    were known; `awaits`: those that get nothing, and would under such a grant.
    """

    allowed: dict[str, str] = field(default_factory=dict)
    denied: dict[str, Reason] = field(default_factory=dict)
    reason: Reason = Reason.NO_GRANT
    uncut: frozenset[str] = frozenset()
    billing: dict[str, Billing] = field(default_factory=dict)
    any_scan: bool = True
    asks_label: bool = False
    awaits: tuple[str, ...] = ()


@dataclass(slots=True)
class Candidates:
    """Grants by the MID they may reach.

    `refresh` must be called whenever the tables may have changed. A grant's scope, MID and CRID
    are fixed for life and grants never go, so only new grants have to be looked at.
    """

    tables: Tables = field(default_factory=Tables)
    _known: int = 0
    _by_mid: dict[str, list[str]] = field(default_factory=dict)
    _by_crid: dict[str, list[str]] = field(default_factory=dict)
    _crids_of_mid: dict[str, list[str]] = field(default_factory=dict)

    def refresh(self, tables: Tables) -> None:
        """Take in the tables of a later version."""
        self.tables = tables
        for grant in islice(tables.grants.values(), self._known, None):
            if grant["scope"] == "MID":
                self._by_mid.setdefault(grant["mid"], []).append(grant["grant_id"])
            else:
                self._by_crid.setdefault(grant["crid"], []).append(grant["grant_id"])
        self._known = len(tables.grants)
        self._crids_of_mid = {}
        for crid, mids in tables.crids.items():
            for mid in mids:
                self._crids_of_mid.setdefault(mid, []).append(crid)

    def of(self, mid: str) -> list[dict[str, Any]]:
        """Every candidate grant for a MID, ended ones too."""
        found = list(self._by_mid.get(mid, []))
        for crid in self._crids_of_mid.get(mid, []):
            found += self._by_crid.get(crid, [])
        return [self.tables.grants[grant_id] for grant_id in found]

    def scopes_of(self, tenant_id: str, mid: str) -> Iterator[dict[str, Any]]:
        """Every scope under which a revocation would take the MID from the tenant."""
        yield {"tenant_id": tenant_id, "scope": "MID", "mid": mid, "crid": ""}
        for crid in self._crids_of_mid.get(mid, []):
            yield {"tenant_id": tenant_id, "scope": "CRID", "mid": "", "crid": crid}

    def revoked(self, tenant_id: str, mid: str) -> bool:
        """Whether a revocation that was not lifted takes the MID from the tenant."""
        return any(
            subject_of("REVOCATION", scope) in self.tables.revoked
            for scope in self.scopes_of(tenant_id, mid)
        )


def entitled(candidates: Candidates, mid: str, channel: str, now: int, scan: Scan) -> Entitlement:
    """The answer for one event, decided at `now` (milliseconds, UTC)."""
    best: dict[str, tuple[tuple[bool, int, str], Judgement]] = {}
    reasons: dict[str, Reason] = {}
    any_scan = True
    by_token: set[str] = set()
    for grant in candidates.of(mid):
        tenant = grant["tenant_id"]
        judged = judge_grant(candidates, grant, mid, channel, now, scan)
        if judged.reason is Reason.MERCHANT_TOKEN_MISSING and grant["merchant_token_id"] != "":
            by_token.add(tenant)
        if tenant not in reasons or NUMBER[judged.reason] > NUMBER[reasons[tenant]]:
            reasons[tenant] = judged.reason
        if judged.reason is Reason.ALLOWED:
            rank = (not judged.restricted, BASIS_ORDER.index(grant["basis"]), grant["grant_id"])
            best[tenant] = min(best.get(tenant, (rank, judged)), (rank, judged))
        windowed = grant["data_from"] is not None or grant["data_to"] is not None
        if windowed or grant["basis"] == "MERCHANT_TOKEN":
            any_scan = False
    if not best:
        reason = max(reasons.values(), key=NUMBER.__getitem__, default=Reason.NO_GRANT)
        return Entitlement(
            denied=reasons,
            reason=reason,
            any_scan=any_scan,
            asks_label=bool(by_token),
            awaits=tuple(sorted(by_token)),
        )
    return Entitlement(
        allowed={tenant: rank[2] for tenant, (rank, _) in best.items()},
        denied={tenant: reason for tenant, reason in reasons.items() if tenant not in best},
        reason=Reason.ALLOWED,
        uncut=frozenset(tenant for tenant, (_, judged) in best.items() if judged.restricted),
        billing={tenant: judged.billing for tenant, (_, judged) in best.items() if judged.billing},
        any_scan=any_scan,
        asks_label=bool(by_token),
        awaits=tuple(sorted(by_token - best.keys())),
    )


def judge_grant(
    candidates: Candidates, grant: dict[str, Any], mid: str, channel: str, now: int, scan: Scan
) -> Judgement:
    """The first reason of the page's list that fits one grant."""
    tables = candidates.tables
    tenant = tables.tenants[grant["tenant_id"]]
    if grant["tenant_id"] in tables.closed:
        return Judgement(Reason.TENANT_CLOSED)
    if candidates.revoked(grant["tenant_id"], mid):
        return Judgement(Reason.RIGHT_REVOKED)
    if grant["grant_id"] in tables.ended:
        return Judgement(Reason.GRANT_REVOKED)
    rules, metered_from = rules_at(tables, now)
    rule = rules.get(tenant["party_type"], {}).get(grant["basis"])
    if rule is None:
        return Judgement(Reason.BASIS_NOT_FOR_PARTY)
    if channel not in grant["channels"]:
        return Judgement(Reason.CHANNEL_NOT_GRANTED)
    if channel not in rule.channels:
        return Judgement(Reason.BASIS_NOT_FOR_CHANNEL)
    reason = _judge_state(tables, grant, mid, now)
    if reason is Reason.ALLOWED:
        reason = _judge_scan(grant, mid, scan)
    if reason is not Reason.ALLOWED:
        return Judgement(reason)
    if not rule.metered:
        billing = Billing.NO_COST_PARTY
    elif now < metered_from:
        billing = Billing.BEFORE_METERING
    elif grant["agreement_id"] == "":
        billing = Billing.NO_AGREEMENT
    else:
        billing = Billing.BILLABLE
    return Judgement(reason, grant["restricted"] and rule.restricted, billing)


def rules_at(tables: Tables, now: int) -> tuple[dict[str, dict[str, Rule]], int]:
    """The rules in force by party type and basis, and since when there is metering."""
    in_force: dict[str, Any] | None = None
    for body in tables.rule_sets:
        newer = in_force is None or body["effective_from"] >= in_force["effective_from"]
        if body["effective_from"] <= now and newer:
            in_force = body
    if in_force is None:
        return USPS_RULES, USPS_METERED_FROM
    rules: dict[str, dict[str, Rule]] = {}
    for row in in_force["rows"]:
        rule = Rule(tuple(row["channels"]), row["restricted"], row["metering"] == "METERED")
        rules.setdefault(row["party_type"], {})[row["basis"]] = rule
    return rules, in_force["metered_from"]


def _judge_state(tables: Tables, grant: dict[str, Any], mid: str, now: int) -> Reason:
    """What does not depend on the scan."""
    if tables.pending(grant):
        return Reason.GRANT_PENDING
    if now < grant["effective_from"]:
        return Reason.GRANT_NOT_YET
    if grant["effective_to"] is not None and now >= grant["effective_to"]:
        return Reason.GRANT_EXPIRED
    if grant["basis"] == "OWNER" and not tables.terms.get(grant["tenant_id"], False):
        return Reason.TERMS_NOT_ACCEPTED
    if grant["basis"] == "IP_AGREEMENT":
        return _judge_agreement(tables, grant["agreement_id"], mid, now)
    if grant["merchant_token_id"] != "" and grant["merchant_token_id"] in tables.ended_tokens:
        return Reason.MERCHANT_TOKEN_ENDED
    return Reason.ALLOWED


def _judge_scan(grant: dict[str, Any], mid: str, scan: Scan) -> Reason:
    """What does."""
    earliest = latest = scan.time
    if not scan.utc:
        earliest -= EASTERNMOST_HOURS * HOUR_MS
        latest += WESTERNMOST_HOURS * HOUR_MS
    if grant["data_from"] is not None and earliest < grant["data_from"]:
        return Reason.DATA_WINDOW
    if grant["data_to"] is not None and latest >= grant["data_to"]:
        return Reason.DATA_WINDOW
    if grant["basis"] != "MERCHANT_TOKEN":
        return Reason.ALLOWED
    if scan.label is None or grant["merchant_token_id"] == "":
        return Reason.MERCHANT_TOKEN_MISSING
    if scan.label != Label(mid, grant["tenant_id"], grant["merchant_token_id"]):
        return Reason.LABEL_NOT_GENERATED
    return Reason.ALLOWED


def _judge_agreement(tables: Tables, agreement_id: str, mid: str, now: int) -> Reason:
    agreement = tables.agreements[agreement_id]
    if agreement["status"] == "PENDING":
        return Reason.AGREEMENT_PENDING
    if agreement_id in tables.suspended:
        return Reason.AGREEMENT_SUSPENDED
    if now < agreement["effective_from"]:
        return Reason.AGREEMENT_NOT_YET
    if agreement["effective_to"] is not None and now >= agreement["effective_to"]:
        return Reason.AGREEMENT_EXPIRED
    if agreement["mids"] and mid not in agreement["mids"]:
        return Reason.AGREEMENT_MID_NOT_LISTED
    return Reason.ALLOWED
