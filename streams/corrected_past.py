"""[core] What a tenant got and should not have, and the reverse, by the findings about a grant.

The event is decided twice under the rights as they were: as they stood, and with the one grant put
right. All else stays: a tenant that had another right to the event was not wrongly served, and a
grant that should have counted gives nothing where the agreement it rests on was suspended.

An event that waited for its label is judged at the decision that ended its wait, by what the first
one left open (`waits_for_label`): whoever had it at once gets nothing more.
"""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import NamedTuple

from schemas.reasons import Reason
from streams.decision import Event, Lookup, TenantDecision, decide, judge_all, judge_standing
from streams.facts import Correction, Grant
from streams.plans import EVER_FROM_MS

SHOULD_HAVE = "SHOULD_HAVE_COUNTED"


class Breach(StrEnum):
    """How delivery and right differ."""

    DELIVERED_WRONGLY = "delivered_wrongly"
    PERSONAL_DATA_DELIVERED_WRONGLY = "personal_data_delivered_wrongly"
    NOT_DELIVERED = "not_delivered"
    PERSONAL_DATA_NOT_DELIVERED = "personal_data_not_delivered"
    WOULD_HAVE_WAITED = "would_have_waited"


class Found(NamedTuple):
    """`personal_data`: the copy held, or should have held, the recipient's data, if there was any.

    `under` is the grant that it was delivered by, or should have been, or should have waited by.
    """

    breach: Breach
    personal_data: bool
    under: str


class Waits(NamedTuple):
    """Whether the grant's tenant waits for the label: as it was, and as it should have been."""

    was: bool
    should: bool


def finding_at(corrections: Iterable[Correction], now_ms: int) -> Correction | None:
    """The finding that covers an instant; of several, the one written down last."""
    covering = [
        one
        for one in corrections
        if one.wrong_from <= now_ms and (one.wrong_to is None or now_ms < one.wrong_to)
    ]
    return max(covering, key=lambda one: one.changed_at, default=None)


def compare(
    event: Event,
    now_ms: int,
    candidates: Sequence[Grant],
    rights: Lookup,
    grant: Grant,
    finding: Correction,
    *,
    waited: bool = True,
) -> Found | None:
    """What was wrong about one event decided at `now_ms`, if anything was.

    `candidates` and `rights` as they were then; `grant` as it is known now. `waited` is false of an
    event that was decided anew, but not for this tenant.
    """
    own = _own(candidates, grant)
    was = _of_tenant(event, now_ms, own, rights) if waited else None
    if was is None and finding.finding != SHOULD_HAVE:
        return None
    should = _of_tenant(event, now_ms, _put_right(own, grant, finding), rights)
    if was is not None and should is None:
        return Found(Breach.DELIVERED_WRONGLY, was.restricted, was.grant_id)
    if was is None and should is not None:
        return Found(Breach.NOT_DELIVERED, should.restricted, should.grant_id)
    if was is not None and should is not None and was.restricted != should.restricted:
        if was.restricted:
            return Found(Breach.PERSONAL_DATA_DELIVERED_WRONGLY, True, was.grant_id)
        return Found(Breach.PERSONAL_DATA_NOT_DELIVERED, True, should.grant_id)
    return None


def waits_for_label(
    event: Event,
    now_ms: int,
    candidates: Sequence[Grant],
    rights: Lookup,
    grant: Grant,
    finding: Correction | None,
) -> Waits:
    """Whether the grant's tenant got nothing of an event whose label was not known, and would have.

    As `compare`; without a finding at `now_ms` it should have been as it was.
    """
    own = _own(candidates, grant)
    was = _waits(event, now_ms, own, rights)
    if finding is None:
        return Waits(was, was)
    return Waits(was, _waits(event, now_ms, _put_right(own, grant, finding), rights))


def would_have_waited(event: Event, now_ms: int, rights: Lookup, grant: Grant) -> Found:
    """What is said of an event that should have waited for its label by this grant, and did not:
    nothing tells whether the label would have come in time, and been the one."""
    standing = judge_standing(in_force(grant), event.mid, event.channel, now_ms, rights)
    return Found(Breach.WOULD_HAVE_WAITED, standing.restricted, grant.grant_id)


def _own(candidates: Sequence[Grant], grant: Grant) -> list[Grant]:
    return [one for one in candidates if one.tenant_id == grant.tenant_id]


def _put_right(own: Sequence[Grant], grant: Grant, finding: Correction) -> list[Grant]:
    """The tenant's grants as they should have been."""
    others = [one for one in own if one.grant_id != grant.grant_id]
    return [*others, in_force(grant)] if finding.finding == SHOULD_HAVE else others


def in_force(grant: Grant) -> Grant:
    """The grant as if it had always been active and never ended; its scope and terms as known."""
    return grant._replace(
        status="ACTIVE", ended=False, effective_from=EVER_FROM_MS, effective_to=None
    )


def _waits(event: Event, now_ms: int, own: Sequence[Grant], rights: Lookup) -> bool:
    """As `plans.EventRoutes.awaits_label`, for the one tenant of the candidates."""
    judged = judge_all(event, now_ms, own, rights)
    return all(one.reason is not Reason.ALLOWED for one in judged) and any(
        one.reason is Reason.MERCHANT_TOKEN_MISSING and bool(one.grant.merchant_token_id)
        for one in judged
    )


def _of_tenant(
    event: Event, now_ms: int, candidates: Sequence[Grant], rights: Lookup
) -> TenantDecision | None:
    """The decision for the one tenant of the candidates, if it is to deliver."""
    for decision in decide(event, now_ms, candidates, rights).tenants:
        if decision.reason is Reason.ALLOWED:
            return decision
    return None
