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

from auditor.entitlement import Candidates, entitled, judge_grant
from auditor.rights import Rights as AuditorRights
from auditor.rights import StoppedError
from auditor.structure import subject_of
from streams.errors import LogError
from streams.rights import Rights
from tests.unit.auditor.drawn import TEXT, mutated
from tests.unit.auditor.world import (
    LAYOUT,
    LOG_ID,
    agreement,
    change,
    change_id,
    deliverer,
    grant,
    tenant,
)

# No deadline: the machine may be busy. A drawn log is large by nature.
PATIENT = settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
DIGITS = st.text("0123456789", max_size=44)
CHANNELS = ("UNKNOWN", "API", "WEBHOOK", "SEE")
BASES = ("UNKNOWN", "UTC", "LOCAL", "AMBIGUOUS")


MIDS = ("901234567", "912345678", "123456", "812345678")
TIMES = (0, 500, 1000, 2000, 3000)
INSTANTS = st.sampled_from(TIMES)
MAYBE_INSTANT = st.none() | INSTANTS
PARTIES = st.sampled_from(
    ["SHIPPER", "PLATFORM", "CONSOLIDATOR", "AUDITOR", "SERVICE_PROVIDER", "SHIPPER"]
)
TENANTS = st.sampled_from(["a", "b", "c", "a--b"])
GRANTS = st.sampled_from(["g1", "g2", "g10", "g 1"])
AGREEMENTS = st.sampled_from(["x", "y", ""])
CRIDS = st.sampled_from(["C1", "C2", "C-2"])
STATUS = st.sampled_from(["ACTIVE", "ACTIVE", "ACTIVE", "PENDING"])
BASIS = st.sampled_from(["OWNER", "MERCHANT_TOKEN", "MID_AUTHORIZATION", "IP_AGREEMENT"])
SOME_MIDS = st.lists(st.sampled_from(MIDS[:3]), max_size=3)
SOME_CHANNELS = st.lists(st.sampled_from(CHANNELS[1:]), min_size=1, max_size=3)


@st.composite
def layouts(draw: st.DrawFn) -> dict[str, Any]:
    lanes, partitions = draw(st.sampled_from([(1, 2), (2, 2), (2, 4), (3, 4), (0, 4)]))
    return {"app_id": draw(st.sampled_from(["app", "other"])), "lanes": lanes,
            "partitions": partitions}  # fmt: skip


@st.composite
def tenants(draw: st.DrawFn) -> dict[str, Any]:
    tenant_id = draw(TENANTS)
    topic = draw(st.sampled_from([tenant_id, tenant_id, tenant_id, "a"]))
    return {
        "tenant_id": tenant_id, "name": "n", "party_type": draw(PARTIES), "crid": "",
        "topic": f"m.tenant.{topic}", "partitions": draw(st.sampled_from([1, 1, 2, 3, 0])),
    }  # fmt: skip


@st.composite
def agreements(draw: st.DrawFn) -> dict[str, Any]:
    return agreement(
        draw(AGREEMENTS),
        draw(TENANTS),
        mids=draw(SOME_MIDS),
        status=draw(STATUS),
        effective_from=draw(INSTANTS),
        effective_to=draw(MAYBE_INSTANT),
    )


@st.composite
def grants(draw: st.DrawFn) -> dict[str, Any]:
    """Grants, mostly of a valid form."""
    scope, basis = draw(st.sampled_from(["MID", "MID", "CRID"])), draw(BASIS)
    fields = {
        "mid": draw(st.sampled_from(MIDS)) if scope == "MID" else "",
        "crid": draw(CRIDS) if scope == "CRID" else "",
        "agreement_id": draw(AGREEMENTS) if basis == "IP_AGREEMENT" else "",
        "effective_from": draw(INSTANTS),
        "effective_to": draw(MAYBE_INSTANT),
        "data_from": draw(st.sampled_from([None, None, None, 5])),
        "data_to": draw(st.sampled_from([None, None, None, 4, 6])),
    }
    if draw(st.integers(0, 15)) == 0:
        fields[draw(st.sampled_from(["mid", "crid", "agreement_id"]))] = "C1"
    return grant(
        draw(GRANTS),
        draw(TENANTS),
        scope=scope,
        basis=basis,
        status=draw(STATUS),
        channels=draw(SOME_CHANNELS | st.just([])),
        **fields,
    )


def _one(name: str, values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return values.map(lambda value: {name: value})


BODIES: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "LAYOUT": layouts(),
    "TENANT": tenants(),
    "TENANT_END": _one("tenant_id", TENANTS),
    "TERMS": st.fixed_dictionaries(
        {"tenant_id": TENANTS, "terms_version": TEXT, "accepted": st.booleans()}
    ),
    "CRID": st.fixed_dictionaries({"crid": CRIDS, "mids": SOME_MIDS}),
    "AGREEMENT": agreements(),
    "AGREEMENT_SUSPEND": _one("agreement_id", AGREEMENTS),
    "AGREEMENT_RESUME": _one("agreement_id", AGREEMENTS),
    "GRANT": grants(),
    "GRANT_END": _one("grant_id", GRANTS),
    "HEARTBEAT": _one("nonce", TEXT),
    "LOG_START": _one("log_id", TEXT),
    "DELIVERER": st.builds(
        lambda lanes, nonce: {**deliverer(0, nonce), "lanes": lanes},
        st.sampled_from([1, 2]),
        st.sampled_from(["n1", "n2"]),
    ),
}
# Grants make the most of it; what spoils a log for good is rare.
KINDS_DRAWN = (
    ["GRANT"] * 8 + ["TENANT"] * 3 + ["AGREEMENT"] * 3 + ["CRID"] * 2 + ["TERMS"] * 2
    + ["AGREEMENT_SUSPEND", "AGREEMENT_RESUME", "GRANT_END", "TENANT_END", "HEARTBEAT"]
    + ["LAYOUT", "DELIVERER", "LOG_START", "IMPORT_CLOSE"]
)  # fmt: skip
IMPORTS = (b"1" * 16, b"2" * 16)


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
        for mid, channel, now in product(MIDS, CHANNELS[1:], TIMES):
            mine = entitled(candidates, mid, channel, now)
            index = CHANNELS.index(channel)
            plan = snapshot.plan(mid.encode(), index, now)
            theirs = {route.tenant_id: route.grant_id for route in plan.routes}
            assert theirs == mine.allowed, (mid, channel, now)
            if not mine.allowed:
                assert plan.reason is mine.reason, (mid, channel, now)
            judged = {
                one.grant.grant_id: one.reason for one in snapshot.explain(mid.encode(), index, now)
            }
            assert judged == {
                body["grant_id"]: judge_grant(self.auditor.tables, body, mid, channel, now)
                for body in candidates.of(mid)
            }


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


PARTY_OF = {"a": "SHIPPER", "b": "PLATFORM", "c": "AUDITOR"}
BASES_OF = {
    "a": ["OWNER"] * 5 + ["IP_AGREEMENT"],
    "b": ["MID_AUTHORIZATION"] * 4 + ["MERCHANT_TOKEN", "OWNER"],
    "c": ["IP_AGREEMENT"] * 5 + ["OWNER"],
}


@st.composite
def fitting_grants(draw: st.DrawFn) -> dict[str, Any]:
    """Grants that are accepted, mostly of a basis that carries something."""
    tenant_id = draw(st.sampled_from("abc"))
    scope, basis = (
        draw(st.sampled_from(["MID", "CRID"])),
        draw(st.sampled_from(BASES_OF[tenant_id])),
    )
    start = draw(st.sampled_from([0, 0, 0, 500, 2000]))
    ip_agreement = {"a": "z", "b": "", "c": draw(st.sampled_from("xy"))}
    return grant(
        f"g{draw(st.integers(0, 30))}",
        tenant_id,
        scope=scope,
        basis=basis,
        mid=draw(st.sampled_from(MIDS[:2])) if scope == "MID" else "",
        crid=draw(st.sampled_from(["C1", "C2"])) if scope == "CRID" else "",
        agreement_id=ip_agreement[tenant_id] if basis == "IP_AGREEMENT" else "",
        status=draw(st.sampled_from(["ACTIVE"] * 9 + ["PENDING"])),
        channels=draw(st.lists(st.sampled_from(CHANNELS[1:]), min_size=1, unique=True)),
        effective_from=start,
        effective_to=draw(st.sampled_from([None, None, start + 500, start + 1500])),
        data_from=draw(st.sampled_from([None] * 9 + [1])),
    )


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
    for body in draw(st.lists(fitting_grants(), min_size=1, max_size=15)):
        add("GRANT", body)
    for kind in draw(st.lists(st.sampled_from(sorted(AFTERWARDS)), max_size=4)):
        add(kind, draw(AFTERWARDS[kind]))
    return both


AFTERWARDS: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "GRANT_END": st.integers(0, 30).map(lambda number: {"grant_id": f"g{number}"}),
    "AGREEMENT_SUSPEND": _one("agreement_id", st.sampled_from("xyz")),
    "AGREEMENT_RESUME": _one("agreement_id", st.sampled_from("xyz")),
    "TENANT_END": _one("tenant_id", st.sampled_from("abc")),
    "CRID": st.fixed_dictionaries(
        {"crid": st.sampled_from(["C1", "C2"]), "mids": st.sampled_from([[], [MIDS[0]]])}
    ),
    "TERMS": st.fixed_dictionaries(
        {"tenant_id": st.just("a"), "terms_version": st.just("2"), "accepted": st.booleans()}
    ),
}


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
