"""[core] Decisions made once and used for millions of events.

A decision depends on the MID, the channel, the rights and the instant. As long as the rights stay
and no instant in them is passed, it is the same: so a plan carries the interval of time in which it
is valid, and whoever asks outside of it gets a new one. An expiry needs no timer.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from schemas.reasons import Reason
from streams.decision import Decision, Lookup, decide
from streams.facts import Grant
from streams.record_format import encode_header

# Beyond any instant that a record can hold (schemas.strict_avro).
EVER_FROM_MS = -(1 << 62)
EVER_UNTIL_MS = 1 << 62

GRANT_HEADER = "mg-grant"


class Route(NamedTuple):
    """Where an allowed event goes; `header` names the grant, encoded for the record."""

    tenant_id: str
    topic: str
    partitions: int
    grant_id: str
    header: bytes


Routes = tuple[Route, ...]


class Plan(NamedTuple):
    """What happens to events of a MID and channel while `valid_from_ms` ≤ now < `valid_until_ms`.

    Without routes, `reason` is why they are withheld; with routes it is ALLOWED.
    """

    routes: Routes
    reason: Reason
    valid_from_ms: int
    valid_until_ms: int


NOBODY = Plan((), Reason.NO_GRANT, EVER_FROM_MS, EVER_UNTIL_MS)
"""The plan of a MID without any candidate. Not remembered: numbers of no owner are endless."""


def make_plan(
    mid: str, channel: int, now_ms: int, candidates: Sequence[Grant], rights: Lookup
) -> Plan:
    """Decide, and find out for how long the decision holds."""
    decision = decide(mid, channel, now_ms, candidates, rights)
    valid_from, valid_until = EVER_FROM_MS, EVER_UNTIL_MS
    for instant in _instants(candidates, rights):
        if instant <= now_ms:
            valid_from = max(valid_from, instant)
        else:
            valid_until = min(valid_until, instant)
    return Plan(_routes(decision, rights), decision.reason, valid_from, valid_until)


def _routes(decision: Decision, rights: Lookup) -> Routes:
    routes = []
    for tenant_id, reason, grant_id in decision.tenants:
        tenant = rights.tenants.find(tenant_id)
        if reason is Reason.ALLOWED and tenant is not None:
            header = encode_header(GRANT_HEADER, grant_id.encode())
            routes.append(Route(tenant_id, tenant.topic, tenant.partitions, grant_id, header))
    return tuple(routes)


def _instants(candidates: Iterable[Grant], rights: Lookup) -> Iterable[int]:
    """Every instant at which a check over these grants can change its answer."""
    for grant in candidates:
        yield grant.effective_from
        if grant.effective_to is not None:
            yield grant.effective_to
        if grant.agreement_id:
            agreement = rights.agreements.find(grant.agreement_id)
            if agreement is not None:
                yield agreement.effective_from
                if agreement.effective_to is not None:
                    yield agreement.effective_to
