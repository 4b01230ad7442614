"""[core] Who may have an event: a pure function over tables.

`decide` says for each tenant that has a candidate grant whether the event goes to it, and why. It
depends on the MID in the barcode, the event's channel, the instant and the rights, and on nothing
else. Source of every table here: docs/authorization-log.md, "What the rights mean for one event",
after USPS's API Access Control page.

A denial is a value, never an exception. Whatever is missing where the acceptance rule has made sure
that it is there (a tenant, an agreement) denies.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from schemas.reasons import Reason
from streams.facts import BIT_OF_CHANNEL, Agreement, Grant, Tenant, Terms
from streams.sharded_map import FrozenMap

_ALL_CHANNELS = BIT_OF_CHANNEL["API"] | BIT_OF_CHANNEL["WEBHOOK"] | BIT_OF_CHANNEL["SEE"]
_OWN = {"OWNER": _ALL_CHANNELS}
_FOR_MERCHANTS = {
    "MERCHANT_TOKEN": BIT_OF_CHANNEL["API"] | BIT_OF_CHANNEL["WEBHOOK"],
    "MID_AUTHORIZATION": BIT_OF_CHANNEL["SEE"],
}
_BY_AGREEMENT = {"IP_AGREEMENT": _ALL_CHANNELS}

CARRIED: Mapping[str, Mapping[str, int]] = {
    "SHIPPER": _OWN,
    "PLATFORM": _FOR_MERCHANTS,
    "LABEL_PROVIDER": _FOR_MERCHANTS,
    "CONSOLIDATOR": _FOR_MERCHANTS,
    "SERVICE_PROVIDER": _BY_AGREEMENT,
    "AUDITOR": _BY_AGREEMENT,
    "SOFTWARE_VENDOR": _BY_AGREEMENT,
    "TRACKING_ANALYTICS_VENDOR": _BY_AGREEMENT,
    "PUBLIC_TRACKING_WEBSITE": _BY_AGREEMENT,
    "CONSUMER_BUSINESS": _BY_AGREEMENT,
}
"""Party type -> basis -> mask of the channels that it carries."""

BASES = ("OWNER", "MERCHANT_TOKEN", "MID_AUTHORIZATION", "IP_AGREEMENT")
"""Of several grants that allow, the one of the first basis is named, then the lowest id."""

_BASIS_ORDER = {basis: order for order, basis in enumerate(BASES)}
RANKS = {reason: rank for rank, reason in enumerate(Reason)}
"""How far along a denial is; the highest of all candidates is told."""


class Lookup(Protocol):
    """The rights, as far as a decision reads them."""

    @property
    def tenants(self) -> FrozenMap[str, Tenant]: ...
    @property
    def terms(self) -> FrozenMap[str, Terms]: ...
    @property
    def agreements(self) -> FrozenMap[str, Agreement]: ...


class Case(NamedTuple):
    """One grant before the checks. `carried`: channels of party type and basis, None: no such."""

    grant: Grant
    tenant: Tenant | None
    terms: Terms | None
    agreement: Agreement | None
    carried: int | None
    mid: str
    channel_bit: int
    now_ms: int


class GrantJudgement(NamedTuple):
    """What one candidate grant says about the event."""

    grant: Grant
    reason: Reason


class TenantDecision(NamedTuple):
    """What a tenant gets: allowed, or its furthest denial; and the grant that says so."""

    tenant_id: str
    reason: Reason
    grant_id: str


class Decision(NamedTuple):
    """`reason` is ALLOWED if any tenant is; else the furthest denial, NO_GRANT without any."""

    reason: Reason
    tenants: tuple[TenantDecision, ...]


def _by_agreement(case: Case) -> bool:
    return case.grant.basis == "IP_AGREEMENT"


CHECKS: tuple[tuple[Reason, Callable[[Case], bool]], ...] = (
    (Reason.TENANT_CLOSED, lambda c: c.tenant is None or c.tenant.closed),
    (Reason.GRANT_REVOKED, lambda c: c.grant.ended),
    (Reason.BASIS_NOT_FOR_PARTY, lambda c: c.carried is None),
    (Reason.CHANNEL_NOT_GRANTED, lambda c: not c.grant.channel_mask & c.channel_bit),
    (Reason.BASIS_NOT_FOR_CHANNEL, lambda c: not (c.carried or 0) & c.channel_bit),
    (Reason.GRANT_PENDING, lambda c: c.grant.status != "ACTIVE"),
    (Reason.GRANT_NOT_YET, lambda c: c.now_ms < c.grant.effective_from),
    (Reason.GRANT_EXPIRED, lambda c: _is_over(c.grant.effective_to, c.now_ms)),
    # No token can be proved yet.
    (Reason.MERCHANT_TOKEN_MISSING, lambda c: c.grant.basis == "MERCHANT_TOKEN"),
    # Windows over event time cannot be proved yet.
    (
        Reason.DATA_WINDOW,
        lambda c: c.grant.data_from is not None or c.grant.data_to is not None,
    ),
    (
        Reason.TERMS_NOT_ACCEPTED,
        lambda c: c.grant.basis == "OWNER" and (c.terms is None or not c.terms.accepted),
    ),
    (
        Reason.AGREEMENT_PENDING,
        lambda c: _by_agreement(c) and (c.agreement is None or c.agreement.status != "ACTIVE"),
    ),
    (Reason.AGREEMENT_SUSPENDED, lambda c: c.agreement is not None and c.agreement.suspended),
    (
        Reason.AGREEMENT_NOT_YET,
        lambda c: c.agreement is not None and c.now_ms < c.agreement.effective_from,
    ),
    (
        Reason.AGREEMENT_EXPIRED,
        lambda c: c.agreement is not None and _is_over(c.agreement.effective_to, c.now_ms),
    ),
    (
        Reason.AGREEMENT_MID_NOT_LISTED,
        lambda c: (
            c.agreement is not None and bool(c.agreement.mids) and c.mid not in c.agreement.mids
        ),
    ),
)
"""The first that fits is the grant's reason; none: ALLOWED."""


def _is_over(effective_to: int | None, now_ms: int) -> bool:
    return effective_to is not None and now_ms >= effective_to


def judge_grant(
    grant: Grant, mid: str, channel: int, now_ms: int, rights: Lookup
) -> GrantJudgement:
    """One candidate's judgement; `channel` is the symbol's index, 0 (UNKNOWN) is never granted."""
    tenant = rights.tenants.find(grant.tenant_id)
    carried = None if tenant is None else CARRIED.get(tenant.party_type, {}).get(grant.basis)
    case = Case(
        grant,
        tenant,
        rights.terms.find(grant.tenant_id),
        rights.agreements.find(grant.agreement_id) if grant.agreement_id else None,
        carried,
        mid,
        1 << channel,
        now_ms,
    )
    for reason, fits in CHECKS:
        if fits(case):
            return GrantJudgement(grant, reason)
    return GrantJudgement(grant, Reason.ALLOWED)


def judge_all(
    mid: str, channel: int, now_ms: int, candidates: Sequence[Grant], rights: Lookup
) -> list[GrantJudgement]:
    """Every candidate's judgement, by tenant, then in the order in which grants are named."""
    ordered = sorted(
        candidates,
        key=lambda grant: (grant.tenant_id, _BASIS_ORDER[grant.basis], grant.grant_id),
    )
    return [judge_grant(grant, mid, channel, now_ms, rights) for grant in ordered]


def decide(
    mid: str, channel: int, now_ms: int, candidates: Sequence[Grant], rights: Lookup
) -> Decision:
    """Who gets an event of this MID and channel, decided at `now_ms` (Unix ms).

    `candidates`: every grant, ended or not, of the MID or of a CRID that holds it.
    """
    best: dict[str, TenantDecision] = {}
    for grant, reason in judge_all(mid, channel, now_ms, candidates, rights):
        known = best.get(grant.tenant_id)
        if known is None or RANKS[reason] > RANKS[known.reason]:
            best[grant.tenant_id] = TenantDecision(grant.tenant_id, reason, grant.grant_id)
    if not best:
        return Decision(Reason.NO_GRANT, ())
    reason = max((tenant.reason for tenant in best.values()), key=RANKS.__getitem__)
    return Decision(reason, tuple(best.values()))
