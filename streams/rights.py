"""[core] The rights of one authorization log, record by record.

`Rights.apply` is the rule of docs/authorization-log.md, in the page's order: every reader of the
same bytes comes to the same verdicts, the same rights and the same running hash. No I/O, no clock.

Figures for 100,000 grants: tests/bench/rights_bench.py.
"""

from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any, NamedTuple

from schemas.codec import MalformedRecordError
from streams.acceptance import (
    ACCEPTED,
    LOG_STARTED,
    MALFORMED,
    REPEAT,
    RULES,
    grant_fault,
    grant_narrows,
    judge,
    judge_grant,
)
from streams.change_ids import ChangeIds
from streams.change_reader import Change, read_change
from streams.errors import UpgradeNeededError, WrongLogError
from streams.facts import (
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
    grant_of,
)
from streams.imports import Imports
from streams.rights_dump import RightsImage, restore
from streams.rights_snapshot import RightsSnapshot
from streams.rights_state import RightsState
from streams.rule_sets import RuleSet

__all__ = ["Applied", "Rights", "RightsSnapshot"]

FIRST_HASH = sha256(b"midgate authorization 1").digest()
_NOT_OURS_HINT = "another topic was named, or something else was restored in its place"


class Applied(NamedTuple):
    """What became of one record. A malformed one has neither kind, subject nor change id.

    `restricting` is true only for what was accepted and may have taken a right away.
    """

    offset: int
    kind: str
    subject: str
    verdict: str
    restricting: bool
    change_id: bytes
    actor: str
    reason: str
    body: dict[str, Any]


class SubjectOffsets(Mapping[str, int]):
    """Subject -> offset at which it last changed: the base of its next change."""

    __slots__ = ("_state",)

    def __init__(self, state: RightsState) -> None:
        self._state = state

    def __getitem__(self, subject: str) -> int:
        offset = self._state.offset_of(subject)
        if offset < 0:
            raise KeyError(subject)
        return offset

    def __iter__(self) -> Iterator[str]:
        yield from self._state.offsets
        for grant_id in self._state.grants:
            yield f"grant/{grant_id}"

    def __len__(self) -> int:
        return len(self._state.offsets) + len(self._state.grants)


class Rights:
    """Mutable state of one log. All changes below `version` are in; `chain` is the running hash."""

    __slots__ = ("_change_ids", "_imports", "_state", "chain", "last_change_id", "version")

    def __init__(self) -> None:
        self.version = 0
        self.chain = FIRST_HASH
        self.last_change_id = b""  # of the last change applied here; not in a dump
        self._state = RightsState()
        self._change_ids = ChangeIds()
        self._imports = Imports()

    @property
    def log_id(self) -> str:
        """The log's UUID; empty before its first record."""
        return self._state.log_id or ""

    @property
    def layout(self) -> Layout | None:
        return self._state.layout

    @property
    def tenants(self) -> Mapping[str, Tenant]:
        return self._state.tenants

    @property
    def grants(self) -> Mapping[str, Grant]:
        return self._state.grants

    @property
    def agreements(self) -> Mapping[str, Agreement]:
        return self._state.agreements

    @property
    def crids(self) -> Mapping[str, Crid]:
        return self._state.crids

    @property
    def terms(self) -> Mapping[str, Terms]:
        """Last word on the terms, by tenant id."""
        return self._state.terms

    @property
    def tokens(self) -> Mapping[str, MerchantToken]:
        return self._state.tokens

    @property
    def revocations(self) -> Mapping[str, Revocation]:
        """Those that count, by subject."""
        return self._state.revocations

    @property
    def rule_sets(self) -> tuple[RuleSet, ...]:
        """Those accepted, in the order of the log; `rule_sets.rules_at` chooses."""
        return self._state.rule_sets

    @property
    def corrections(self) -> Mapping[str, Correction]:
        """Findings about grants' pasts, by correction id; withdrawn ones too."""
        return self._state.corrections

    @property
    def deliverers(self) -> Mapping[str, Deliverer]:
        """Last accepted registration, by transactional id."""
        return self._state.deliverers

    @property
    def subjects(self) -> Mapping[str, int]:
        """Offset at which each subject last changed; `.get(subject, -1)` is its base."""
        return SubjectOffsets(self._state)

    def has_change(self, change_id: bytes) -> bool:
        """Whether a record with this change id was met, whatever its verdict."""
        return change_id in self._change_ids

    def grant_ended(self, grant_id: str) -> bool:
        """Whether the id was revoked, known or not."""
        return self._state.grant_ended(grant_id)

    def token_tenant(self, merchant_token_id: str) -> str | None:
        """The tenant of a token that is known and not ended."""
        token = self._state.tokens.find(merchant_token_id)
        return None if token is None or token.ended else token.tenant_id

    def tenant_open(self, tenant_id: str) -> bool:
        """Whether the tenant is known and not closed."""
        return self._state.open_tenant(tenant_id) is not None

    def snapshot(self, confirmed_at: float) -> RightsSnapshot:
        """The rights as they stand, for ever; `confirmed_at` is monotonic seconds.

        Cheap whatever the size (`streams/sharded_map.py` states the bound).
        """
        return RightsSnapshot(self._state, self.version, confirmed_at)

    def image(self) -> RightsImage:
        """All of the state as it stands; cheap. Its `dump` may run in a thread of its own."""
        return RightsImage(
            self.version, self.chain, self._state, self._change_ids.dump(), self._imports
        )

    def dump(self) -> bytes:
        """The state for a local snapshot. Takes seconds for a million grants: see `image`."""
        return self.image().dump()

    @classmethod
    def load(cls, data: bytes) -> "Rights":
        """The state of a `dump`. DamagedDumpError, a ValueError, for anything else."""
        rights = cls()
        rights.version, rights.chain, change_ids = restore(data, rights._state, rights._imports)
        rights._change_ids = ChangeIds.load(change_ids)
        return rights

    def apply(self, offset: int, timestamp_ms: int, value: bytes | None) -> Applied:
        """Apply the record at `offset`; `timestamp_ms` is the broker's time.

        Raises WrongLogError for what cannot be a Midgate log, UpgradeNeededError for a record of a
        newer version; the state is then as it was.
        """
        if offset < self.version:
            raise WrongLogError(
                f"record {offset} comes after version {self.version}", hint=_NOT_OURS_HINT
            )
        if self._state.log_id is None:
            return self._start(offset, value)
        try:
            change = read_change(value)
        except MalformedRecordError:
            self._imports.drop_late(timestamp_ms, None)
            self._hash(offset, value, MALFORMED)
            return Applied(offset, "", "", MALFORMED, False, b"", "", "", {})
        if change.kind == "HEARTBEAT":
            self.version = offset + 1
            return _applied(offset, change, ACCEPTED, False)
        if len(self._imports):
            closing = change.import_id if change.kind == "IMPORT_CLOSE" else None
            self._imports.drop_late(timestamp_ms, closing)
        verdict, narrows = self._judge_and_apply(offset, timestamp_ms, change)
        self._hash(offset, value, verdict)
        restricting = verdict == ACCEPTED and (narrows or change.restricting)
        return _applied(offset, change, verdict, restricting)

    def _start(self, offset: int, value: bytes | None) -> Applied:
        """Line 0: the first record read stands at offset 0 and is a LOG_START."""
        try:
            change = read_change(value)
        except (MalformedRecordError, UpgradeNeededError):
            change = None
        if offset != 0 or change is None or change.kind != "LOG_START":
            raise WrongLogError(
                f"record {offset} is not the start of an authorization log", hint=_NOT_OURS_HINT
            )
        self._state.log_id = change.body["log_id"]
        self._change_ids.add(change.change_id)
        self.last_change_id = change.change_id
        self._hash(offset, value, ACCEPTED)
        return _applied(offset, change, ACCEPTED, False)

    def _judge_and_apply(self, offset: int, timestamp_ms: int, change: Change) -> tuple[str, bool]:
        """The verdict, with its effect; and whether it takes anything away."""
        fresh = self._change_ids.add(change.change_id)
        self.last_change_id = change.change_id
        kind = change.kind
        if kind == "LOG_START":
            return LOG_STARTED, False
        if not fresh:
            return REPEAT, False
        if kind == "IMPORT_CLOSE":
            return self._imports.close(self._state, change, offset, timestamp_ms)
        if change.import_id is not None:
            return self._imports.stage(change.import_id, change, timestamp_ms), False
        if kind == "GRANT":
            return self._grant(offset, change)
        state = self._state
        verdict = judge(state, change)
        if verdict != ACCEPTED:
            return verdict, False
        narrows = RULES[kind].narrows(state, change.body)
        state.apply(change, offset)
        return verdict, narrows

    def _grant(self, offset: int, change: Change) -> tuple[str, bool]:
        fault = grant_fault(change)
        if fault:
            return fault, False
        state = self._state
        grant = grant_of(change.body, change.actor, change.reason, offset)
        present = state.grants.find(grant.grant_id)
        verdict = judge_grant(state, grant, change.base, present)
        if verdict != ACCEPTED:
            return verdict, False
        narrows = grant_narrows(present, grant)
        state.put_grant(grant, new=present is None)
        return verdict, narrows

    def _hash(self, offset: int, value: bytes | None, verdict: str) -> None:
        value = value or b""
        head = self.chain + offset.to_bytes(8, "big") + len(value).to_bytes(4, "big")
        self.chain = sha256(head + value + verdict.encode()).digest()
        self.version = offset + 1


def _applied(offset: int, change: Change, verdict: str, restricting: bool) -> Applied:
    return Applied(
        offset,
        change.kind,
        change.subject,
        verdict,
        restricting,
        change.change_id,
        change.actor,
        change.reason,
        change.body,
    )
