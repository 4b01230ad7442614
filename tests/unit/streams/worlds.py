"""Loads `tests/unit/worlds/*.yaml`: rights and events, and who must and must not get them.

One world a file. It lists what stands in the log from the start (`tenants`, `crids`, `agreements`,
`tokens`, `grants`, `revocations`, `rules`), perhaps changes that follow (`then`, one step a line),
`labels`, and `events`, each decided after all steps or after as many as `after` says.

Every tenant with a candidate grant must stand in exactly one of `delivered` ("event tenant grant",
then `uncut` if with the restricted part, and what is billed unless it is no_cost_party) and
`denied` ("event tenant reason"), both mandatory, and each event that nobody gets in `withheld`.
`awaits` ("event tenant") lists those that would get it if the right label were known.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from schemas.barcode import check_digit
from schemas.codec import encode
from schemas.reasons import Billing, Reason
from streams.changes import Body, revoked_scope
from streams.decision import Decision, Event, decide
from streams.facts import BIT_OF_SIDE, CHANNELS
from streams.label_facts import LabelEntry
from streams.plans import Plan
from streams.rights import RightsSnapshot
from tests.unit.streams.log_building import (
    Log,
    agreement_body,
    simple_grant,
    tenant_body,
    token_body,
)

FOLDER = Path(__file__).parent.parent / "worlds"
DEFAULT_AT_MS = 1_785_000_000_000  # 2026-07-25
TIME_BASES = ("UNKNOWN", "UTC", "LOCAL", "AMBIGUOUS")
SECTIONS = ("tenants", "crids", "agreements", "tokens", "grants", "revocations", "rules")


@dataclass(frozen=True)
class WorldEvent:
    """An event of a piece with this MID, decided at `at_ms` after `after` of the later steps."""

    mid: str
    channel: str
    at_ms: int
    time_ms: int
    time_basis: str
    label: LabelEntry | None
    after: int

    def facts(self) -> Event:
        """As a decision reads it."""
        basis = TIME_BASES.index(self.time_basis)
        return Event(self.mid, CHANNELS.index(self.channel), self.time_ms, basis, self.label)

    def barcode(self) -> str:
        """A number under AI 92 or 93 with the MID; one for each label, and one without."""
        serial = 1 + (self.label.index + 1 if self.label else 0)
        prefix, digits = ("92748", 11) if len(self.mid) == 9 else ("93748", 14)
        body = f"{prefix}{self.mid}{serial:0{digits}d}"
        return body + str(check_digit(body.encode()))

    def value(self) -> bytes:
        """The raw record's value; it names a recipient."""
        return encode(
            "tracking_event",
            {
                "barcode": self.barcode(),
                "event_code": "01",
                "event_time": self.time_ms,
                "time_basis": self.time_basis,
                "facility_zip": "90009",
                "channel": self.channel,
                "restricted": {"recipient_name": "J DOE", "firm": None},
            },
        )


@dataclass(frozen=True)
class Outcome:
    """What becomes of the events of a world, in the words of its file."""

    delivered: frozenset[str]
    denied: frozenset[str]
    withheld: frozenset[str]
    awaits: frozenset[str] = frozenset()


@dataclass
class World:
    """A log and its events, with what must come of each.

    `history` is every accepted change; `marks[n]` the length of it, and `snapshots[n]` the rights,
    after n of the later steps.
    """

    log: Log
    expected: Outcome
    history: list[tuple[str, Body]] = field(default_factory=list)
    events: dict[str, WorldEvent] = field(default_factory=dict)
    marks: list[int] = field(default_factory=list)
    snapshots: list[RightsSnapshot] = field(default_factory=list)

    def put(self, kind: str, body: Body, void: str = "") -> None:
        """One change, which must be accepted, or void for this reason."""
        applied = self.log.put(kind, body)
        assert applied.verdict == (f"void:{void}" if void else "accepted"), applied
        if not void:
            self.history.append((kind, body))

    def mark(self) -> None:
        """A step is done."""
        self.marks.append(len(self.history))
        self.snapshots.append(self.log.rights.snapshot(0.0))


def outcome(
    world: World,
    decide: Callable[..., Decision] = decide,
    rights_of: Callable[[RightsSnapshot], Any] = lambda snapshot: snapshot,
) -> Outcome:
    """What becomes of a world's events by a decision; each is decided on its own."""
    delivered, denied, withheld = set(), set(), set()
    for name, event in world.events.items():
        rights = rights_of(world.snapshots[event.after])
        candidates = world.snapshots[event.after].candidates(event.mid)
        decision = decide(event.facts(), event.at_ms, candidates, rights)
        for tenant, reason, grant_id, restricted, billing in decision.tenants:
            if reason == Reason.ALLOWED:
                delivered.add(delivered_line(name, tenant, grant_id, restricted, billing))
            else:
                denied.add(f"{name} {tenant} {reason.value}")
        if decision.reason != Reason.ALLOWED:
            withheld.add(f"{name} {decision.reason.value}")
    awaits = world.expected.awaits  # is for plans to say
    return Outcome(frozenset(delivered), frozenset(denied), frozenset(withheld), awaits)


def planned(world: World, plan_of: Callable[[RightsSnapshot, WorldEvent], Plan]) -> Outcome:
    """What becomes of a world's events by plans, which do not tell who is denied."""
    delivered, withheld, awaits = set(), set(), set()
    for name, event in world.events.items():
        facts = event.facts()
        plan = plan_of(world.snapshots[event.after], event)
        assert plan.valid_from_ms <= event.at_ms < plan.valid_until_ms
        routes, reason, waiting = plan.for_event(facts.time_ms, facts.time_basis, facts.label)
        awaits |= {f"{name} {tenant}" for tenant in waiting}
        for route in routes:
            _, restricted, billing, _ = route.right
            line = delivered_line(name, route.tenant_id, route.grant_id, restricted, billing)
            delivered.add(line)
        if not routes:
            withheld.add(f"{name} {reason.value}")
    return Outcome(frozenset(delivered), frozenset(), frozenset(withheld), frozenset(awaits))


def delivered_line(
    event: str, tenant: str, grant_id: str, restricted: bool, billing: Billing | None
) -> str:
    """A delivery as a world's file says it."""
    words = [event, tenant, grant_id, *(["uncut"] if restricted else [])]
    if billing is not Billing.NO_COST_PARTY:
        words.append(billing.value if billing else "none")
    return " ".join(words)


def paths() -> list[Path]:
    """Every world."""
    return sorted(FOLDER.glob("*.yaml"))


def load(path: Path) -> World:
    """The world in a file; its log is built from real bytes."""
    told: dict[str, Any] = yaml.safe_load(path.read_text("utf-8"))
    unknown = set(told) - {
        *("about", *SECTIONS, "then", "labels"),
        *("events", "delivered", "denied", "withheld", "awaits"),
    }
    assert not unknown, f"{path.name}: {unknown}"
    said = ("delivered", "denied", "withheld", "awaits")
    lines = {name: frozenset(told.get(name, [])) for name in said}
    assert {"delivered", "denied"} <= set(told), f"{path.name} must say who gets it and who not"
    world = World(Log(), Outcome(**lines))
    for section in SECTIONS:
        for kind, body in _SECTIONS[section](told.get(section, {})):
            world.put(kind, body)
    world.mark()
    for step in told.get("then", []):
        void = step.pop("void", "")
        [(verb, what)] = step.items()
        for kind, body in _VERBS[verb](what):
            world.put(kind, body, void)
        world.mark()
    labels = {
        name: LabelEntry(name, index, one["mid"], one["by"], one.get("token", ""), 0, 1, None, "")
        for index, (name, one) in enumerate(told.get("labels", {}).items())
    }
    for name, event in told["events"].items():
        at_ms = _ms(event.get("at"), DEFAULT_AT_MS) or 0
        world.events[name] = WorldEvent(
            mid=event["mid"],
            channel=event["channel"],
            at_ms=at_ms,
            time_ms=_ms(event.get("time"), at_ms) or 0,
            time_basis=event.get("basis", "UTC"),
            label=labels[event["label"]] if "label" in event else None,
            after=event.get("after", len(world.marks) - 1),
        )
    return world


def _ms(instant: Any, default: int | None = None) -> int | None:
    return default if instant is None else round(instant.timestamp() * 1000)


Changes = Iterator[tuple[str, Body]]


def _tenants(tenants: dict[str, Any]) -> Changes:
    for tenant_id, tenant in tenants.items():
        yield "TENANT", tenant_body(tenant_id, tenant["party"])
        accepted = tenant.get("terms", True)
        if accepted is not None:
            yield from _terms({tenant_id: accepted})


def _terms(accepted: dict[str, bool]) -> Changes:
    for tenant_id, word in accepted.items():
        yield "TERMS", {"tenant_id": tenant_id, "terms_version": "2026-04", "accepted": word}


def _crids(crids: dict[str, list[str]]) -> Changes:
    for crid, mids in crids.items():
        yield "CRID", {"crid": crid, "mids": mids}


def _agreements(agreements: dict[str, Any]) -> Changes:
    for agreement_id, told in agreements.items():
        yield (
            "AGREEMENT",
            agreement_body(
                agreement_id,
                told["tenant"],
                mids=told.get("mids", []),
                status=told.get("status", "ACTIVE"),
                effective_from=_ms(told.get("from"), 0),
                effective_to=_ms(told.get("to")),
            ),
        )


def _tokens(tokens: dict[str, str]) -> Changes:
    for token, tenant in tokens.items():
        yield "MERCHANT_TOKEN", token_body(token, tenant)


def _grants(grants: dict[str, Any]) -> Changes:
    for grant_id, told in grants.items():
        yield (
            "GRANT",
            simple_grant(
                grant_id,
                told["tenant"],
                scope="CRID" if "crid" in told else "MID",
                mid=told.get("mid", ""),
                crid=told.get("crid", ""),
                channels=told["channels"],
                basis=told["basis"],
                agreement_id=told.get("agreement", ""),
                merchant_token_id=told.get("token", ""),
                status=told.get("status", "ACTIVE"),
                effective_from=_ms(told.get("from"), 0),
                effective_to=_ms(told.get("to")),
                data_from=_ms(told.get("data_from")),
                data_to=_ms(told.get("data_to")),
                restricted=told.get("restricted", False),
            ),
        )


def _revocations(scopes: list[dict[str, str]]) -> Changes:
    for scope in scopes:
        yield "REVOCATION", _scope(scope)


def _scope(told: dict[str, str]) -> Body:
    return revoked_scope(told["tenant"], mid=told.get("mid", ""), crid=told.get("crid", ""))


def _rules(told: dict[str, Any]) -> Changes:
    """`rows`: party type, basis, channels joined by +, then `uncut` and `metered` as they apply."""
    for rule_set_id, rules in told.items():
        rows = []
        for party, basis, channels, *more in map(str.split, rules["rows"]):
            rows.append(
                {
                    "party_type": party,
                    "basis": basis,
                    "channels": channels.split("+"),
                    "restricted": "uncut" in more,
                    "metering": "METERED" if "metered" in more else "NO_COST_PARTY",
                }
            )
        yield (
            "RULE_SET",
            {
                "rule_set_id": rule_set_id,
                "effective_from": _ms(rules["from"]),
                "metered_from": _ms(rules.get("metered_from"), 0),
                "source": "the world",
                "rows": rows,
            },
        )


def _confirmations(told: dict[str, str]) -> Changes:
    for grant_id, side in told.items():
        assert side.upper() in BIT_OF_SIDE, side
        yield "GRANT_CONFIRM", {"grant_id": grant_id, "side": side.upper()}


def _of(kind: str, field_name: str) -> Callable[[str], Changes]:
    return lambda name: iter([(kind, {field_name: name})])


_SECTIONS: dict[str, Callable[[Any], Changes]] = {
    "tenants": _tenants,
    "crids": _crids,
    "agreements": _agreements,
    "tokens": _tokens,
    "grants": _grants,
    "revocations": _revocations,
    "rules": _rules,
}
_VERBS: dict[str, Callable[[Any], Changes]] = {
    "tenant": _tenants,
    "close": _of("TENANT_END", "tenant_id"),
    "terms": _terms,
    "crid": _crids,
    "agreement": _agreements,
    "suspend": _of("AGREEMENT_SUSPEND", "agreement_id"),
    "resume": _of("AGREEMENT_RESUME", "agreement_id"),
    "token": _tokens,
    "end_token": _of("MERCHANT_TOKEN_END", "merchant_token_id"),
    "grant": _grants,
    "confirm": _confirmations,
    "end": _of("GRANT_END", "grant_id"),
    "revoke": lambda told: _revocations([told]),
    "lift": lambda told: iter([("REVOCATION_LIFT", _scope(told))]),
    "rules": _rules,
}
