"""[core] Who may have an event: a pure function over tables.

`decide` says for each tenant that has a candidate grant whether the event goes to it, and why. It
depends on the event, the instant and the rights, and on nothing else. Source of every check here:
docs/authorization-log.md, "What the rights mean for one event"; docs/rules.md says where each rule
comes from. Which basis gives which party type what is data (`streams/rule_sets.py`).

A denial is a value, never an exception. Whatever is missing where the acceptance rule has made sure
that it is there (a tenant, an agreement) denies.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from schemas.reasons import Billing, Reason
from streams.facts import Agreement, Grant, MerchantToken, Tenant, Terms
from streams.label_facts import LabelEntry
from streams.rule_sets import METERED, RuleRow, RuleSet, rules_at
from streams.sharded_map import FrozenMap

BASES = ("OWNER", "MERCHANT_TOKEN", "MID_AUTHORIZATION", "IP_AGREEMENT")
"""Of several grants that allow, the one of the first basis is named, then the lowest id."""

_BASIS_ORDER = {basis: order for order, basis in enumerate(BASES)}
RANKS = {reason: rank for rank, reason in enumerate(Reason)}
"""How far along a denial is; the highest of all candidates is told."""

UTC = 1
"""Index of the time basis UTC (`schemas.event_reader.EventFacts`); all others are local."""

# Zones in use reach from UTC-12 to UTC+14, so a local time can be that of an instant from 14 hours
# before the same figures in UTC to 12 hours after them.
_AHEAD_MS = 14 * 3_600_000
_BEHIND_MS = 12 * 3_600_000


class Event(NamedTuple):
    """What a decision reads of an event. `channel` and `time_basis` are their symbols' indices.

    `mid` owns the piece; `time_ms` is the event time, `label` the one that covers it, None if
    none or more than one is known.
    """

    mid: str
    channel: int
    time_ms: int
    time_basis: int
    label: LabelEntry | None


class Lookup(Protocol):
    """The rights, as far as a decision reads them."""

    @property
    def tenants(self) -> FrozenMap[str, Tenant]: ...
    @property
    def terms(self) -> FrozenMap[str, Terms]: ...
    @property
    def agreements(self) -> FrozenMap[str, Agreement]: ...
    @property
    def tokens(self) -> FrozenMap[str, MerchantToken]: ...
    @property
    def rule_sets(self) -> tuple[RuleSet, ...]: ...
    def revoked(self, tenant_id: str, mid: str) -> bool: ...


class Case(NamedTuple):
    """One grant before the standing checks. `row`: its rule, None if there is no such."""

    grant: Grant
    tenant: Tenant | None
    revoked: bool
    row: RuleRow | None
    terms: Terms | None
    agreement: Agreement | None
    token: MerchantToken | None
    mid: str
    channel_bit: int
    now_ms: int


class GrantJudgement(NamedTuple):
    """What one candidate grant says about the event.

    Allowed: whether with the restricted part, and whether it is billed.
    """

    grant: Grant
    reason: Reason
    restricted: bool = False
    billing: Billing | None = None


class TenantDecision(NamedTuple):
    """What a tenant gets: allowed, or its furthest denial; and the grant that says so.

    Allowed: whether uncut (`restricted`), and whether it is billed.
    """

    tenant_id: str
    reason: Reason
    grant_id: str
    restricted: bool
    billing: Billing | None


class Decision(NamedTuple):
    """`reason` is ALLOWED if any tenant is; else the furthest denial, NO_GRANT without any."""

    reason: Reason
    tenants: tuple[TenantDecision, ...]


def _by_agreement(case: Case) -> bool:
    return case.grant.basis == "IP_AGREEMENT"


def _is_over(effective_to: int | None, now_ms: int) -> bool:
    return effective_to is not None and now_ms >= effective_to


STANDING_CHECKS: tuple[tuple[Reason, Callable[[Case], bool]], ...] = (
    (Reason.TENANT_CLOSED, lambda c: c.tenant is None or c.tenant.closed),
    (Reason.RIGHT_REVOKED, lambda c: c.revoked),
    (Reason.GRANT_REVOKED, lambda c: c.grant.ended),
    (Reason.BASIS_NOT_FOR_PARTY, lambda c: c.row is None),
    (Reason.CHANNEL_NOT_GRANTED, lambda c: not c.grant.channel_mask & c.channel_bit),
    (
        Reason.BASIS_NOT_FOR_CHANNEL,
        lambda c: c.row is not None and not c.row.channel_mask & c.channel_bit,
    ),
    (Reason.GRANT_PENDING, lambda c: c.grant.status != "ACTIVE"),
    (Reason.GRANT_NOT_YET, lambda c: c.now_ms < c.grant.effective_from),
    (Reason.GRANT_EXPIRED, lambda c: _is_over(c.grant.effective_to, c.now_ms)),
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
    (Reason.MERCHANT_TOKEN_ENDED, lambda c: c.token is not None and c.token.ended),
)
"""What does not depend on the event. The first that fits is the reason; none: EVENT_CHECKS."""


def _outside_window(grant: Grant, event: Event) -> bool:
    """Whether the event may have happened outside of the grant's data window."""
    ahead, behind = (0, 0) if event.time_basis == UTC else (_AHEAD_MS, _BEHIND_MS)
    before = grant.data_from is not None and event.time_ms - ahead < grant.data_from
    return before or _is_over(grant.data_to, event.time_ms + behind)


def by_token(grant: Grant) -> bool:
    """Whether the right rests on the label's having been generated under a merchant's token."""
    return grant.basis == "MERCHANT_TOKEN"


def _generated(grant: Grant, event: Event) -> bool:
    """Whether the label is this tenant's, for this MID, under this token."""
    label = event.label
    return (
        label is not None
        and label.mid == event.mid
        and label.generated_by == grant.tenant_id
        and label.merchant_token_id == grant.merchant_token_id
    )


EVENT_CHECKS: tuple[tuple[Reason, Callable[[Grant, Event], bool]], ...] = (
    (Reason.DATA_WINDOW, _outside_window),
    (
        Reason.MERCHANT_TOKEN_MISSING,
        lambda grant, event: (
            by_token(grant) and (not grant.merchant_token_id or event.label is None)
        ),
    ),
    (
        Reason.LABEL_NOT_GENERATED,
        lambda grant, event: by_token(grant) and not _generated(grant, event),
    ),
)
"""What depends on the event itself. The first that fits is the reason; none: ALLOWED."""


def depends_on_event(grant: Grant) -> bool:
    """Whether any of EVENT_CHECKS can ever deny under this grant."""
    return grant.data_from is not None or grant.data_to is not None or by_token(grant)


def judge_standing(
    grant: Grant, mid: str, channel: int, now_ms: int, rights: Lookup
) -> GrantJudgement:
    """One candidate as far as it does not depend on the event; `channel` 0 is never granted."""
    tenant = rights.tenants.find(grant.tenant_id)
    rules = rules_at(rights.rule_sets, now_ms)
    row = None if tenant is None else rules.row(tenant.party_type, grant.basis)
    case = Case(
        grant,
        tenant,
        rights.revoked(grant.tenant_id, mid),
        row,
        rights.terms.find(grant.tenant_id),
        rights.agreements.find(grant.agreement_id) if grant.agreement_id else None,
        rights.tokens.find(grant.merchant_token_id) if grant.merchant_token_id else None,
        mid,
        1 << channel,
        now_ms,
    )
    for reason, fits in STANDING_CHECKS:
        if fits(case):
            return GrantJudgement(grant, reason)
    assert row is not None, "a grant without a row is BASIS_NOT_FOR_PARTY"
    billing = _billing(row, grant, rules.metered_from, now_ms)
    return GrantJudgement(grant, Reason.ALLOWED, grant.restricted and row.restricted, billing)


def _billing(row: RuleRow, grant: Grant, metered_from: int, now_ms: int) -> Billing:
    if row.metering != METERED:
        return Billing.NO_COST_PARTY
    if now_ms < metered_from:
        return Billing.BEFORE_METERING
    return Billing.BILLABLE if grant.agreement_id else Billing.NO_AGREEMENT


def judge_event(standing: GrantJudgement, event: Event) -> GrantJudgement:
    """The whole judgement of a candidate whose standing one is `standing`."""
    if standing.reason is Reason.ALLOWED:
        for reason, fits in EVENT_CHECKS:
            if fits(standing.grant, event):
                return GrantJudgement(standing.grant, reason)
    return standing


def judge_all_standing(
    mid: str, channel: int, now_ms: int, candidates: Sequence[Grant], rights: Lookup
) -> list[GrantJudgement]:
    """Every candidate's standing judgement, by tenant, then in the order in which grants are named.

    That is: such as carry the restricted part first, then by basis, then by id. So the grant that
    is named is one that gives all that the tenant gets.
    """
    judged = [judge_standing(grant, mid, channel, now_ms, rights) for grant in candidates]
    return sorted(
        judged,
        key=lambda one: (
            one.grant.tenant_id,
            not one.restricted,
            _BASIS_ORDER[one.grant.basis],
            one.grant.grant_id,
        ),
    )


def judge_all(
    event: Event, now_ms: int, candidates: Sequence[Grant], rights: Lookup
) -> list[GrantJudgement]:
    """Every candidate's judgement, by tenant, then in the order in which grants are named."""
    standing = judge_all_standing(event.mid, event.channel, now_ms, candidates, rights)
    return [judge_event(one, event) for one in standing]


def decide(event: Event, now_ms: int, candidates: Sequence[Grant], rights: Lookup) -> Decision:
    """Who gets an event, decided at `now_ms` (Unix ms).

    `candidates`: every grant, ended or not, of the MID or of a CRID that holds it.
    """
    best: dict[str, TenantDecision] = {}
    for grant, reason, restricted, billing in judge_all(event, now_ms, candidates, rights):
        known = best.get(grant.tenant_id)
        if known is None or RANKS[reason] > RANKS[known.reason]:
            best[grant.tenant_id] = TenantDecision(
                grant.tenant_id, reason, grant.grant_id, restricted, billing
            )
    if not best:
        return Decision(Reason.NO_GRANT, ())
    reason = max((tenant.reason for tenant in best.values()), key=RANKS.__getitem__)
    return Decision(reason, tuple(best.values()))
