"""[core] What is in force, and how an accepted change alters it.

Nothing is judged here: `streams/acceptance.py` has done that. Each effect also forgets the plans
(`streams/plans.py`) of the MIDs it touches, so what remains remembered is right for the state.

Candidates of a MID are found by three indexes, and none of them ever loses an id, as a grant keeps
its scope for life and an ended one stays a candidate: hence plain chains `(grant id, rest)`, which
are never altered and can be shared with any snapshot.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from typing import Optional

from streams.change_reader import Change
from streams.changes import NEVER_CHANGED, Body
from streams.facts import (
    BIT_OF_SIDE,
    BOTH_SIDES,
    Agreement,
    Correction,
    Crid,
    Deliverer,
    Grant,
    Layout,
    MerchantToken,
    Revocation,
    Tenant,
    Terms,
    agreement_of,
    tenant_of,
)
from streams.plans import Plan
from streams.rule_sets import RuleSet, rule_set_of
from streams.sharded_map import SHARDS_FEW, ShardedMap

Chain = tuple[str, Optional["Chain"]]
"""Grant ids, the youngest first."""

# A change that touches more MIDs than this forgets every plan instead: forgetting one costs 0.5 µs
# while the log is being followed, making one anew some 10 µs, but only when it is asked for.
TOUCHED_MIDS_MAX = 1_000


class RightsState:
    """Tables and indexes of the rights at one version."""

    __slots__ = (
        "agreements",
        "corrections",
        "crid_grants",
        "crids",
        "deliverers",
        "grants",
        "layout",
        "log_id",
        "mid_crids",
        "mid_grants",
        "offsets",
        "plans",
        "revocations",
        "rule_sets",
        "tenant_grants",
        "tenants",
        "terminal",
        "terms",
        "token_grants",
        "tokens",
    )

    def __init__(self) -> None:
        self.log_id: str | None = None
        self.layout: Layout | None = None
        self.tenants: ShardedMap[str, Tenant] = ShardedMap(SHARDS_FEW)
        self.terms: ShardedMap[str, Terms] = ShardedMap(SHARDS_FEW)
        self.crids: ShardedMap[str, Crid] = ShardedMap()
        self.agreements: ShardedMap[str, Agreement] = ShardedMap()
        self.grants: ShardedMap[str, Grant] = ShardedMap()
        self.tokens: ShardedMap[str, MerchantToken] = ShardedMap()
        # Those that count, by subject; a lifted one is only in `offsets`.
        self.revocations: ShardedMap[str, Revocation] = ShardedMap(SHARDS_FEW)
        self.rule_sets: tuple[RuleSet, ...] = ()
        # Findings about the past, withdrawn ones too; nothing is decided by them.
        self.corrections: ShardedMap[str, Correction] = ShardedMap(SHARDS_FEW)
        self.deliverers: dict[str, Deliverer] = {}
        # Offset at which a subject last changed; a known grant's is in the grant itself.
        self.offsets: dict[str, int] = {}
        # Subjects ended before they were known; a known tenant or grant says so itself.
        self.terminal: set[str] = set()
        self.mid_grants: ShardedMap[str, Chain] = ShardedMap()
        self.mid_crids: ShardedMap[str, tuple[str, ...]] = ShardedMap()
        self.crid_grants: ShardedMap[str, Chain] = ShardedMap()
        self.tenant_grants: dict[str, Chain] = {}
        self.token_grants: dict[str, Chain] = {}
        # Plans by MID, one slot a channel; see `streams/plans.py`.
        self.plans: ShardedMap[bytes, list[Plan | None]] = ShardedMap()

    def offset_of(self, subject: str) -> int:
        """Offset at which the subject last changed, -1 if never."""
        if subject.startswith("grant/"):
            grant = self.grants.find(subject[6:])
            if grant is not None:
                return grant.changed_at
        return self.offsets.get(subject, NEVER_CHANGED)

    def open_tenant(self, tenant_id: str) -> Tenant | None:
        """The tenant, if it is known and not closed."""
        tenant = self.tenants.find(tenant_id)
        return None if tenant is None or tenant.closed else tenant

    def tenant_ended(self, tenant_id: str) -> bool:
        """Whether the id was closed, known or not."""
        tenant = self.tenants.find(tenant_id)
        return f"tenant/{tenant_id}" in self.terminal if tenant is None else tenant.closed

    def grant_ended(self, grant_id: str) -> bool:
        """Whether the id was ended, known or not."""
        grant = self.grants.find(grant_id)
        return f"grant/{grant_id}" in self.terminal if grant is None else grant.ended

    def token_ended(self, merchant_token_id: str) -> bool:
        """Whether the token was ended, known or not."""
        token = self.tokens.find(merchant_token_id)
        return f"token/{merchant_token_id}" in self.terminal if token is None else token.ended

    def put_grant(self, grant: Grant, *, new: bool) -> None:
        """A grant, `new` or changed."""
        if new:
            self.add_grant(grant)
        else:
            self.grants[grant.grant_id] = grant
        if grant.mid:
            self.plans.part(grant.mid.encode())
        else:
            self._touch(self.crids[grant.crid].mids)

    def add_grant(self, grant: Grant) -> None:
        """A grant whose id is not known yet, without forgetting any plan."""
        grant_id = grant.grant_id
        self.grants[grant_id] = grant
        if grant.mid:
            self.mid_grants[grant.mid] = (grant_id, self.mid_grants.find(grant.mid))
        else:
            self.crid_grants[grant.crid] = (grant_id, self.crid_grants.find(grant.crid))
        tenant_id = grant.tenant_id
        self.tenant_grants[tenant_id] = (grant_id, self.tenant_grants.get(tenant_id))
        token_id = grant.merchant_token_id
        if token_id:
            self.token_grants[token_id] = (grant_id, self.token_grants.get(token_id))

    def put_crid(self, crid: Crid) -> None:
        """All MIDs of a CRID from now on."""
        name = crid.crid
        present = self.crids.find(name)
        before = set(present.mids if present is not None else ())
        after = set(crid.mids)
        for mid in before - after:
            left = tuple(other for other in self.mid_crids[mid] if other != name)
            if left:
                self.mid_crids[mid] = left
            else:
                self.mid_crids.discard(mid)
        for mid in after - before:
            self.mid_crids[mid] = (*(self.mid_crids.find(mid) or ()), name)
        self._touch(before ^ after)
        self.crids[name] = crid

    def touch_tenant(self, tenant_id: str) -> None:
        """Something changed that every grant of the tenant may depend on."""
        self._touch_grants(self.tenant_grants.get(tenant_id))

    def touch_token(self, merchant_token_id: str) -> None:
        """Something changed that every grant under the token depends on."""
        self._touch_grants(self.token_grants.get(merchant_token_id))

    def touch_scope(self, body: Body) -> None:
        """Something changed for the MID, or for all MIDs of the CRID, that the body names."""
        if body["scope"] == "MID":
            self._touch((body["mid"],))
        else:
            crid = self.crids.find(body["crid"])
            self._touch(crid.mids if crid is not None else ())

    def _touch_grants(self, grants: Chain | None) -> None:
        touched: set[str] = set()
        for grant_id in ids_of(grants):
            touched.update(self._mids_of(self.grants[grant_id]))
            if len(touched) > TOUCHED_MIDS_MAX:
                break
        self._touch(touched)

    def _touch(self, mids: Collection[str]) -> None:
        if len(mids) > TOUCHED_MIDS_MAX:
            self.plans.clear()
            return
        for mid in mids:
            self.plans.part(mid.encode())

    def _mids_of(self, grant: Grant) -> tuple[str, ...]:
        return (grant.mid,) if grant.mid else self.crids[grant.crid].mids

    def apply(self, change: Change, offset: int) -> None:
        """Give an accepted change its effect. Not for GRANT (`put_grant`), IMPORT_CLOSE."""
        self.offsets[change.subject] = offset
        _EFFECTS[change.kind](self, change, offset)


def ids_of(chain: Chain | None) -> Iterator[str]:
    """The grant ids of a chain."""
    while chain is not None:
        grant_id, chain = chain
        yield grant_id


def _layout(state: RightsState, change: Change, offset: int) -> None:
    body = change.body
    state.layout = Layout(body["app_id"], body["lanes"], body["partitions"], offset)


def _tenant(state: RightsState, change: Change, offset: int) -> None:
    tenant = tenant_of(change.body, offset)
    state.tenants[tenant.tenant_id] = tenant
    state.touch_tenant(tenant.tenant_id)


def _tenant_end(state: RightsState, change: Change, offset: int) -> None:
    tenant = state.tenants.find(change.body["tenant_id"])
    if tenant is None:
        state.terminal.add(change.subject)
    else:
        state.tenants[tenant.tenant_id] = replace(tenant, closed=True, changed_at=offset)
        state.touch_tenant(tenant.tenant_id)


def _terms(state: RightsState, change: Change, offset: int) -> None:
    body = change.body
    tenant_id = body["tenant_id"]
    state.terms[tenant_id] = Terms(tenant_id, body["terms_version"], body["accepted"], offset)
    state.touch_tenant(tenant_id)


def _crid(state: RightsState, change: Change, offset: int) -> None:
    state.put_crid(Crid(change.body["crid"], tuple(change.body["mids"]), offset))


def _agreement(state: RightsState, change: Change, offset: int) -> None:
    present = state.agreements.find(change.body["agreement_id"])
    suspended = present is not None and present.suspended
    agreement = agreement_of(change.body, suspended, offset)
    state.agreements[agreement.agreement_id] = agreement
    state.touch_tenant(agreement.tenant_id)


def _suspend(suspended: bool) -> "Callable[[RightsState, Change, int], None]":
    def effect(state: RightsState, change: Change, offset: int) -> None:
        agreement = state.agreements.find(change.body["agreement_id"])
        if agreement is not None:
            state.agreements[agreement.agreement_id] = replace(
                agreement, suspended=suspended, changed_at=offset
            )
            state.touch_tenant(agreement.tenant_id)

    return effect


def _grant_end(state: RightsState, change: Change, offset: int) -> None:
    grant = state.grants.find(change.body["grant_id"])
    if grant is None:
        state.terminal.add(change.subject)
        return
    del state.offsets[change.subject]  # a known grant carries its own
    state.put_grant(
        grant._replace(ended=True, changed_at=offset, actor=change.actor, reason=change.reason),
        new=False,
    )


def _grant_confirm(state: RightsState, change: Change, offset: int) -> None:
    grant = state.grants[change.body["grant_id"]]
    del state.offsets[change.subject]  # a known grant carries its own
    confirmed = grant.confirmed | BIT_OF_SIDE[change.body["side"]]
    state.put_grant(
        grant._replace(
            confirmed=confirmed,
            status="ACTIVE" if confirmed == BOTH_SIDES else grant.status,
            changed_at=offset,
            actor=change.actor,
            reason=change.reason,
        ),
        new=False,
    )


def _grant_correction(state: RightsState, change: Change, offset: int) -> None:
    correction = Correction(
        **change.body, changed_at=offset, actor=change.actor, reason=change.reason
    )
    state.corrections[correction.correction_id] = correction


def _token(state: RightsState, change: Change, offset: int) -> None:
    body = change.body
    token = MerchantToken(
        body["merchant_token_id"], body["tenant_id"], body["merchant"], False, offset
    )
    state.tokens[token.merchant_token_id] = token
    state.touch_token(token.merchant_token_id)


def _token_end(state: RightsState, change: Change, offset: int) -> None:
    token = state.tokens.find(change.body["merchant_token_id"])
    if token is None:
        state.terminal.add(change.subject)
    else:
        ended = replace(token, ended=True, changed_at=offset)
        state.tokens[token.merchant_token_id] = ended
        state.touch_token(token.merchant_token_id)


def _revocation(state: RightsState, change: Change, offset: int) -> None:
    body = change.body
    state.revocations[change.subject] = Revocation(
        body["tenant_id"], body["mid"], body["crid"], offset, change.actor, change.reason
    )
    state.touch_scope(body)


def _revocation_lift(state: RightsState, change: Change, offset: int) -> None:
    state.revocations.discard(change.subject)
    state.touch_scope(change.body)


def _rule_set(state: RightsState, change: Change, offset: int) -> None:
    state.rule_sets = (*state.rule_sets, rule_set_of(change.body, offset))
    state.plans.clear()


def _deliverer(state: RightsState, change: Change, offset: int) -> None:
    deliverer = Deliverer(**change.body, changed_at=offset)
    state.deliverers[deliverer.transactional_id] = deliverer


_EFFECTS: Mapping[str, Callable[[RightsState, Change, int], None]] = {
    "LAYOUT": _layout,
    "TENANT": _tenant,
    "TENANT_END": _tenant_end,
    "TERMS": _terms,
    "CRID": _crid,
    "AGREEMENT": _agreement,
    "AGREEMENT_SUSPEND": _suspend(True),
    "AGREEMENT_RESUME": _suspend(False),
    "GRANT_END": _grant_end,
    "DELIVERER": _deliverer,
    "RULE_SET": _rule_set,
    "MERCHANT_TOKEN": _token,
    "MERCHANT_TOKEN_END": _token_end,
    "REVOCATION": _revocation,
    "REVOCATION_LIFT": _revocation_lift,
    "GRANT_CONFIRM": _grant_confirm,
    "GRANT_CORRECTION": _grant_correction,
}
