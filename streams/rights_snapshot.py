"""[core] The rights as they stood at one version: what a batch is decided on.

Immutable, but for the plans that it remembers. Those stand in shards that snapshots share with each
other and with the rights. A plan may be written into a shard by any snapshot that holds it: when a
change touches a MID, the rights go on with a copy of the MID's shard without its plans, even if
there is none yet (an older snapshot may be asked for one later); so all snapshots that hold one and
the same shard agree on every MID in it, present or not.
"""

from streams.changes import revocation_subject, revoked_scope
from streams.decision import Event, GrantJudgement, judge_all
from streams.facts import CHANNELS, Grant, Layout
from streams.plans import NOBODY, Plan, make_plan
from streams.rights_state import RightsState, ids_of


class RightsSnapshot:
    """All changes below `version` of log `log_id`; `confirmed_at` is monotonic seconds.

    `plan_shards` are the remembered plans (`streams/sharded_map.py`), by MID and then by channel.
    """

    __slots__ = (
        "_crid_grants",
        "_grants",
        "_mid_crids",
        "_mid_grants",
        "_revocations",
        "_revoked_any",
        "agreements",
        "confirmed_at",
        "layout",
        "log_id",
        "plan_shards",
        "rule_sets",
        "tenants",
        "terms",
        "tokens",
        "version",
    )

    def __init__(self, state: RightsState, version: int, confirmed_at: float) -> None:
        self.log_id = state.log_id or ""
        self.version = version
        self.confirmed_at = confirmed_at
        self.layout: Layout | None = state.layout
        self.tenants = state.tenants.freeze()
        self.terms = state.terms.freeze()
        self.agreements = state.agreements.freeze()
        self.tokens = state.tokens.freeze()
        self.rule_sets = state.rule_sets
        self._revocations = state.revocations.freeze()
        self._revoked_any = any(self._revocations.shards)
        self._grants = state.grants.freeze()
        self._mid_grants = state.mid_grants.freeze()
        self._mid_crids = state.mid_crids.freeze()
        self._crid_grants = state.crid_grants.freeze()
        self.plan_shards = state.plans.freeze().shards

    def plan(self, mid: bytes, channel: int, now_ms: int) -> Plan:
        """What happens to an event of this MID and channel (its symbol's index) at `now_ms`."""
        shards = self.plan_shards
        known = shards[hash(mid) & (len(shards) - 1)].get(mid)
        if known is not None:
            plan = known[channel]
            if plan is not None and plan.valid_from_ms <= now_ms < plan.valid_until_ms:
                return plan
        text = mid.decode("ascii", "replace")
        candidates = self.candidates(text)
        if not candidates:
            return NOBODY
        plan = make_plan(text, channel, now_ms, candidates, self)
        shard = shards[hash(mid) & (len(shards) - 1)]
        shard.setdefault(mid, [None] * len(CHANNELS))[channel] = plan
        return plan

    def explain(self, event: Event, now_ms: int) -> list[GrantJudgement]:
        """Each candidate's judgement, ended grants too; by tenant, then as grants are named."""
        return judge_all(event, now_ms, self.candidates(event.mid), self)

    def revoked(self, tenant_id: str, mid: str) -> bool:
        """Whether an explicit revocation takes every right to the MID from the tenant."""
        if not self._revoked_any:
            return False
        scopes = [revoked_scope(tenant_id, mid=mid)]
        scopes += [revoked_scope(tenant_id, crid=crid) for crid in self._mid_crids.find(mid) or ()]
        return any(revocation_subject(scope) in self._revocations for scope in scopes)

    def candidates(self, mid: str) -> list[Grant]:
        """Every grant, ended or not, of the MID or of a CRID that holds it."""
        grants = self._grants
        found = [grants[grant_id] for grant_id in ids_of(self._mid_grants.find(mid))]
        for crid in self._mid_crids.find(mid) or ():
            found += [grants[grant_id] for grant_id in ids_of(self._crid_grants.find(crid))]
        return found
