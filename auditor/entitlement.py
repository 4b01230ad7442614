"""[core] Who is entitled to events of a MID on a channel at an instant, and if nobody, why.

Source: docs/authorization-log.md, "What the rights mean for one event".
"""

from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from auditor.structure import Tables
from schemas.reasons import Reason

# The page's numbers: a higher one is further along. NO_GRANT is below all.
NUMBER = {
    Reason.NO_GRANT: 0,
    Reason.TENANT_CLOSED: 1,
    Reason.GRANT_REVOKED: 2,
    Reason.BASIS_NOT_FOR_PARTY: 3,
    Reason.CHANNEL_NOT_GRANTED: 4,
    Reason.BASIS_NOT_FOR_CHANNEL: 5,
    Reason.GRANT_PENDING: 6,
    Reason.GRANT_NOT_YET: 7,
    Reason.GRANT_EXPIRED: 8,
    Reason.MERCHANT_TOKEN_MISSING: 9,
    Reason.DATA_WINDOW: 10,
    Reason.TERMS_NOT_ACCEPTED: 11,
    Reason.AGREEMENT_PENDING: 12,
    Reason.AGREEMENT_SUSPENDED: 13,
    Reason.AGREEMENT_NOT_YET: 14,
    Reason.AGREEMENT_EXPIRED: 15,
    Reason.AGREEMENT_MID_NOT_LISTED: 16,
    Reason.ALLOWED: 17,
}
BASIS_ORDER = ("OWNER", "MERCHANT_TOKEN", "MID_AUTHORIZATION", "IP_AGREEMENT")
PLATFORMS: dict[str, tuple[str, ...]] = {
    "MERCHANT_TOKEN": ("API", "WEBHOOK"),
    "MID_AUTHORIZATION": ("SEE",),
}
PAYING: dict[str, tuple[str, ...]] = {"IP_AGREEMENT": ("API", "WEBHOOK", "SEE")}
CHANNELS_BY_PARTY: dict[str, dict[str, tuple[str, ...]]] = {
    "SHIPPER": {"OWNER": ("API", "WEBHOOK", "SEE")},
    "PLATFORM": PLATFORMS,
    "LABEL_PROVIDER": PLATFORMS,
    "CONSOLIDATOR": PLATFORMS,
    "SERVICE_PROVIDER": PAYING,
    "AUDITOR": PAYING,
    "SOFTWARE_VENDOR": PAYING,
    "TRACKING_ANALYTICS_VENDOR": PAYING,
    "PUBLIC_TRACKING_WEBSITE": PAYING,
    "CONSUMER_BUSINESS": PAYING,
}


@dataclass(frozen=True, slots=True)
class Entitlement:
    """Tenants that get the event with the grant named for each, and why the others do not."""

    allowed: dict[str, str] = field(default_factory=dict)
    denied: dict[str, Reason] = field(default_factory=dict)
    reason: Reason = Reason.NO_GRANT


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


def entitled(candidates: Candidates, mid: str, channel: str, now: int) -> Entitlement:
    """The answer for one MID, channel and instant (milliseconds, UTC)."""
    best: dict[str, tuple[int, str]] = {}
    reasons: dict[str, Reason] = {}
    for grant in candidates.of(mid):
        tenant = grant["tenant_id"]
        reason = judge_grant(candidates.tables, grant, mid, channel, now)
        if tenant not in reasons or NUMBER[reason] > NUMBER[reasons[tenant]]:
            reasons[tenant] = reason
        if reason is Reason.ALLOWED:
            rank = (BASIS_ORDER.index(grant["basis"]), grant["grant_id"])
            best[tenant] = min(best.get(tenant, rank), rank)
    if best:
        allowed = {tenant: grant_id for tenant, (_, grant_id) in best.items()}
        denied = {tenant: reason for tenant, reason in reasons.items() if tenant not in best}
        return Entitlement(allowed, denied, Reason.ALLOWED)
    if not reasons:
        return Entitlement()
    return Entitlement({}, reasons, max(reasons.values(), key=NUMBER.__getitem__))


def judge_grant(tables: Tables, grant: dict[str, Any], mid: str, channel: str, now: int) -> Reason:
    """The first reason of the page's list that fits one grant."""
    tenant = tables.tenants[grant["tenant_id"]]
    if grant["tenant_id"] in tables.closed:
        return Reason.TENANT_CLOSED
    if grant["grant_id"] in tables.ended:
        return Reason.GRANT_REVOKED
    carried = CHANNELS_BY_PARTY[tenant["party_type"]].get(grant["basis"])
    if carried is None:
        return Reason.BASIS_NOT_FOR_PARTY
    if channel not in grant["channels"]:
        return Reason.CHANNEL_NOT_GRANTED
    if channel not in carried:
        return Reason.BASIS_NOT_FOR_CHANNEL
    if grant["status"] == "PENDING":
        return Reason.GRANT_PENDING
    if now < grant["effective_from"]:
        return Reason.GRANT_NOT_YET
    if grant["effective_to"] is not None and now >= grant["effective_to"]:
        return Reason.GRANT_EXPIRED
    if grant["basis"] == "MERCHANT_TOKEN":
        return Reason.MERCHANT_TOKEN_MISSING
    if grant["data_from"] is not None or grant["data_to"] is not None:
        return Reason.DATA_WINDOW
    if grant["basis"] == "OWNER" and not tables.terms.get(grant["tenant_id"], False):
        return Reason.TERMS_NOT_ACCEPTED
    if grant["basis"] == "IP_AGREEMENT":
        return _judge_agreement(tables, grant["agreement_id"], mid, now)
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
