"""The router's rule and the auditor's, written apart from the same page, must never differ.

Random authorization logs go through both. A difference means that one
of them, or the page, is wrong.
"""

import hashlib
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auditor.entitlement import Candidates, Label, Scan, entitled, judge_grant
from auditor.rights import Rights as AuditorRights
from auditor.rights import StoppedError
from auditor.structure import subject_of
from streams.decision import Event
from streams.errors import LogError
from streams.label_facts import LabelEntry
from streams.rights import Rights
from tests.unit.auditor.drawn import mutated
from tests.unit.auditor.drawn_changes import (
    AFTERWARDS,
    BODIES,
    CHANNELS,
    IMPORTS,
    KINDS_DRAWN,
    MIDS,
    PARTY_OF,
    SCANS,
    TIMES,
    fitting_grants,
)
from tests.unit.auditor.world import (
    LAYOUT,
    LOG_ID,
    agreement,
    change,
    change_id,
    tenant,
)

# No deadline: the machine may be busy. A drawn log is large by nature.
PATIENT = settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


class Both:
    """One log, read by the auditor and by the follower's core at the same time."""

    def __init__(self) -> None:
        self.auditor = AuditorRights()
        self.follower = Rights()
        self.offset = 0
        self.clock = 1_000_000
        self.number = 0
        self.staged: dict[bytes, list[bytes]] = {}
        self.verdicts: list[str | None] = []

    def feed(self, value: bytes | None) -> bool:
        """Give both the next record; False when both stop at it."""
        try:
            verdict = self.auditor.feed(self.offset, self.clock, value)
        except StoppedError:
            with pytest.raises(LogError):
                self.follower.apply(self.offset, self.clock, value)
            return False
        applied = self.follower.apply(self.offset, self.clock, value)
        if verdict is not None:
            assert applied.verdict == verdict
        assert self.follower.chain == self.auditor.chain
        assert self.follower.version == self.auditor.version == self.offset + 1
        assert self.follower.log_id == self.auditor.log_id
        self.verdicts.append(verdict)
        self.offset += 1
        return True

    def compare_decisions(self) -> None:
        """Every MID, channel and instant: who gets it by which grant, and why not."""
        candidates = Candidates()
        candidates.refresh(self.auditor.tables)
        snapshot = self.follower.snapshot(0.0)
        for mid, channel, now, asked in product(MIDS, CHANNELS[1:], TIMES, SCANS):
            time, basis, made = asked
            scan = Scan(time, basis == 1, Label(mid, *made) if made else None)
            label = LabelEntry("L", 0, mid, *made, 0, 9, None, "") if made else None
            mine = entitled(candidates, mid, channel, now, scan)
            index = CHANNELS.index(channel)
            plan = snapshot.plan(mid.encode(), index, now)
            assert not (plan.per_event and mine.any_scan)
            routes, reason, _ = plan.for_event(time, basis, label)
            where = (mid, channel, now, asked)
            assert {route.tenant_id: route.grant_id for route in routes} == mine.allowed, where
            assert {route.tenant_id: route.right.billing for route in routes} == mine.billing
            uncut = {route.tenant_id for route in routes if route.right.restricted}
            assert uncut == mine.uncut, where
            if not mine.allowed:
                assert reason is mine.reason, where
            event = Event(mid, index, time, basis, label)
            judged = {one.grant.grant_id: one[1:] for one in snapshot.explain(event, now)}
            assert judged == {
                body["grant_id"]: judge_grant(candidates, body, mid, channel, now, scan)
                for body in candidates.of(mid)
            }, where


def _close(both: Both, draw: Callable[..., Any]) -> tuple[bytes, str, dict[str, Any]]:
    import_id = draw(st.sampled_from(IMPORTS))
    rows = both.staged.pop(import_id, [])
    digest = hashlib.sha256(b"".join(rows)).digest()
    body = {
        "rows": len(rows) + draw(st.sampled_from([0] * 9 + [1])),
        "digest": draw(st.sampled_from([digest] * 9 + [b"wrong"])),
    }
    return import_id, f"import/{import_id.hex()}", body


def _next_value(both: Both, draw: Callable[..., Any]) -> bytes | None:
    """One more record, mostly one that fits what stands in the log."""
    kind = draw(st.sampled_from(KINDS_DRAWN))
    both.number += 1
    number = draw(st.sampled_from([both.number] * 12 + [max(0, both.number - 2)]))
    import_id = None
    if kind == "IMPORT_CLOSE":
        import_id, subject, body = _close(both, draw)
        import_id = draw(st.sampled_from([import_id] * 12 + [None]))
    else:
        body = draw(BODIES[kind])
        unnamed = kind in ("HEARTBEAT", "LOG_START")
        subject = "log" if unnamed else subject_of(kind, body)
        if kind == "GRANT" or draw(st.integers(0, 30)) == 0:
            import_id = draw(st.sampled_from([None, None, None, *IMPORTS]))
    present = both.auditor.tables.changed_at.get(subject, -1)
    value = change(
        kind,
        draw(st.sampled_from([subject] * 20 + ["grant/g1"])),
        body,
        number=number,
        base=-1 if import_id else draw(st.sampled_from([present] * 12 + [-1, 3])),
        import_id=import_id,
        rule_version=draw(st.sampled_from([1] * 150 + [2])),
        restricting=draw(st.booleans()),
    )
    if kind == "GRANT" and import_id is not None:
        both.staged.setdefault(import_id, []).append(change_id(number))
    if draw(st.integers(0, 20)) == 0:
        return draw(st.none() | mutated(st.just(value)))
    return value


@st.composite
def histories(draw: st.DrawFn) -> Both:
    """A log of up to 60 records; both sides agree at each of them or this fails."""
    both = Both()
    start = change("LOG_START", "log", {"log_id": LOG_ID}, number=0)
    layout = change("LAYOUT", "layout", LAYOUT, number=10_000)
    going = both.feed(start) and both.feed(layout)
    for number, (tenant_id, party) in enumerate((("a", "SHIPPER"), ("b", "PLATFORM"))):
        body = tenant(tenant_id, party)
        both.feed(change("TENANT", f"tenant/{tenant_id}", body, number=10_001 + number))
    for _ in range(draw(st.integers(1, 60))):
        both.clock += draw(st.sampled_from([1] * 20 + [300_000, 600_000, 600_001]))
        both.offset += draw(st.sampled_from([0] * 10 + [2]))
        going = going and both.feed(_next_value(both, draw))
        if not going:
            break
    return both


@st.composite
def rich_histories(draw: st.DrawFn) -> Both:
    """A log in which most records are accepted, so that much is allowed and all reasons occur."""
    both = Both()

    def add(kind: str, body: dict[str, Any]) -> None:
        both.number += 1
        subject = subject_of(kind, body)
        base = both.auditor.tables.changed_at.get(subject, -1)
        assert both.feed(change(kind, subject, body, number=both.number, base=base))

    assert both.feed(change("LOG_START", "log", {"log_id": LOG_ID}, number=0))
    add("LAYOUT", LAYOUT)
    for tenant_id, party in PARTY_OF.items():
        add("TENANT", tenant(tenant_id, party))
    accepted = draw(st.sampled_from([True, True, True, False]))
    add("TERMS", {"tenant_id": "a", "terms_version": "1", "accepted": accepted})
    for crid in ("C1", "C2"):
        add("CRID", {"crid": crid, "mids": draw(st.lists(st.sampled_from(MIDS[:3]), unique=True))})
    for agreement_id, tenant_id in (("x", "c"), ("y", "c"), ("z", "a")):
        start = draw(st.sampled_from([0, 0, 0, 1000]))
        fields = {
            "effective_from": start,
            "effective_to": draw(st.sampled_from([None, None, start + 1000])),
            "mids": draw(st.sampled_from([[], [], [MIDS[0]], [MIDS[2]]])),
            "status": draw(st.sampled_from(["ACTIVE"] * 5 + ["PENDING"])),
        }
        add("AGREEMENT", agreement(agreement_id, tenant_id, **fields))
    for token in ("T1", "T2"):
        add("MERCHANT_TOKEN", {"merchant_token_id": token, "tenant_id": "b", "merchant": ""})
    for body in draw(st.lists(fitting_grants(), min_size=1, max_size=15)):
        add("GRANT", body)
    for kind in draw(st.lists(st.sampled_from(sorted(AFTERWARDS)), max_size=6)):
        add(kind, draw(AFTERWARDS[kind]))
    return both


@PATIENT
@given(histories())
def test_both_come_to_the_same_rights(both: Both) -> None:
    """Verdict, hash and version at every record, and every decision at the end."""
    both.compare_decisions()


@PATIENT
@given(rich_histories())
def test_both_decide_the_same_where_much_is_allowed(both: Both) -> None:
    """The same on logs in which nearly everything takes effect."""
    both.compare_decisions()


@pytest.mark.parametrize("offset", [0, 3])
@PATIENT
@given(value=st.none() | mutated(st.just(change("LAYOUT", "layout", LAYOUT, number=1))))
def test_both_refuse_what_is_no_beginning(offset: int, value: bytes | None) -> None:
    """No log starts with anything but its start, at offset 0."""
    both = Both()
    both.offset = offset
    assert not both.feed(value)
