"""[core] Decisions made once and used for millions of events.

A decision depends on the event, the rights and the instant. What depends on MID and channel alone
is the same as long as the rights stay and no instant in them is passed: so a plan carries the
interval of time in which it is valid, and whoever asks outside of it gets a new one. An expiry
needs no timer. Where a grant has a data window or rests on a label, the plan is not final: it holds
what would be allowed, and `for_event` asks only what the event itself decides.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

from schemas.reasons import Billing, Reason
from streams.billable import is_metered
from streams.decision import (
    RANKS,
    Event,
    GrantJudgement,
    Lookup,
    by_token,
    depends_on_event,
    judge_all_standing,
    judge_event,
)
from streams.facts import Grant
from streams.label_facts import LabelEntry
from streams.record_format import encode_header
from streams.rule_sets import USPS_RULES

# Beyond any instant that a record can hold (schemas.strict_avro).
EVER_FROM_MS = -(1 << 62)
EVER_UNTIL_MS = 1 << 62

GRANT_HEADER = "mg-grant"


class Right(NamedTuple):
    """What a route rests on. `agreement_id` is the one to bill to, or empty."""

    grant_id: str
    restricted: bool
    billing: Billing
    agreement_id: str


class Route(NamedTuple):
    """Where an allowed event goes; `header` names the grant, encoded for the record.

    `right.restricted`: the record goes uncut. `metered`: `billable.BillableFacts` is told of it.
    """

    tenant_id: str
    topic: str
    partitions: int
    right: Right
    header: bytes
    metered: bool

    @property
    def grant_id(self) -> str:
        """The grant that allows it."""
        return self.right.grant_id


Routes = tuple[Route, ...]


class Option(NamedTuple):
    """A grant that would allow, and the route if the event does not speak against it."""

    standing: GrantJudgement
    route: Route


class EventRoutes(NamedTuple):
    """What happens to one event. Without routes, `reason` is why it is withheld.

    `awaits_label`: tenants that get nothing, and would under a grant whose label is not known yet.
    """

    routes: Routes
    reason: Reason
    awaits_label: tuple[str, ...]


class Plan(NamedTuple):
    """What happens to events of a MID and channel while `valid_from_ms` ≤ now < `valid_until_ms`.

    Without routes, `reason` is why they are withheld; with routes it is ALLOWED. With `per_event`
    there are none, and `reason` is what a grant asks of the event: `for_event` says what happens.
    """

    routes: Routes
    reason: Reason
    valid_from_ms: int
    valid_until_ms: int
    mid: str = ""
    channel: int = 0
    options: tuple[tuple[Option, ...], ...] = ()
    """For each tenant that may get it: grants in the order in which they are named."""

    @property
    def per_event(self) -> bool:
        """Whether what happens depends on the event itself."""
        return bool(self.options)

    def for_event(self, time_ms: int, time_basis: int, label: LabelEntry | None) -> EventRoutes:
        """What happens to one event, within the plan's interval.

        `time_ms` and `time_basis` as `schemas.event_reader.EventFacts`; `label` the one that covers
        it, None if none or more than one is known.
        """
        if not self.options:
            return EventRoutes(self.routes, self.reason, ())
        event = Event(self.mid, self.channel, time_ms, time_basis, label)
        routes: list[Route] = []
        waiting: list[str] = []
        furthest = Reason.NO_GRANT
        for options in self.options:
            awaits_label = False
            for standing, route in options:
                reason = judge_event(standing, event).reason
                if reason is Reason.ALLOWED:
                    routes.append(route)
                    break
                furthest = max(furthest, reason, key=RANKS.__getitem__)
                awaits_label |= reason is Reason.MERCHANT_TOKEN_MISSING and bool(
                    standing.grant.merchant_token_id
                )
            else:
                if awaits_label:
                    waiting.append(options[0].route.tenant_id)
        return EventRoutes(tuple(routes), Reason.ALLOWED if routes else furthest, tuple(waiting))


NOBODY = Plan((), Reason.NO_GRANT, EVER_FROM_MS, EVER_UNTIL_MS)
"""The plan of a MID without any candidate. Not remembered: numbers of no owner are endless."""


def make_plan(
    mid: str, channel: int, now_ms: int, candidates: Sequence[Grant], rights: Lookup
) -> Plan:
    """Decide as far as MID and channel do, and find out for how long that holds."""
    valid_from, valid_until = EVER_FROM_MS, EVER_UNTIL_MS
    for instant in _instants(candidates, rights):
        if instant <= now_ms:
            valid_from = max(valid_from, instant)
        else:
            valid_until = min(valid_until, instant)
    furthest = Reason.NO_GRANT
    options: list[tuple[Option, ...]] = []
    judged = judge_all_standing(mid, channel, now_ms, candidates, rights)
    for _, of_tenant in groupby(judged, key=lambda one: one.grant.tenant_id):
        allowed: list[Option] = []
        for one in of_tenant:
            if one.reason is Reason.ALLOWED:
                allowed.append(Option(one, _route(one, rights)))
                if not depends_on_event(one.grant):
                    break  # it is allowed whatever the event is, and those behind it are not named
            furthest = max(furthest, one.reason, key=RANKS.__getitem__)
        if allowed:
            options.append(tuple(allowed))
    firsts = [one[0] for one in options]
    asking = next(
        (one.standing.grant for one in firsts if depends_on_event(one.standing.grant)), None
    )
    if asking is None:
        reason = Reason.ALLOWED if firsts else furthest
        return Plan(tuple(route for _, route in firsts), reason, valid_from, valid_until)
    reason = Reason.MERCHANT_TOKEN_MISSING if by_token(asking) else Reason.DATA_WINDOW
    return Plan((), reason, valid_from, valid_until, mid, channel, tuple(options))


def _route(allowed: GrantJudgement, rights: Lookup) -> Route:
    grant, billing = allowed.grant, allowed.billing
    tenant = rights.tenants[grant.tenant_id]
    assert billing is not None, "what is allowed is billed, or not for a reason"
    right = Right(grant.grant_id, allowed.restricted, billing, grant.agreement_id)
    header = encode_header(GRANT_HEADER, grant.grant_id.encode())
    metered = is_metered(right)
    return Route(grant.tenant_id, tenant.topic, tenant.partitions, right, header, metered)


def _instants(candidates: Iterable[Grant], rights: Lookup) -> Iterable[int]:
    """Every instant at which a check over these grants can change its answer."""
    yield USPS_RULES.metered_from
    for rules in rights.rule_sets:
        yield rules.effective_from
        yield rules.metered_from
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
