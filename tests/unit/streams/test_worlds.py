"""Each world of `tests/unit/worlds` through the pure core: decided, planned, explained, routed;
and through the naive model and the auditor, which must say the same."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from auditor.entitlement import Candidates, Label, Scan, entitled
from auditor.structure import Tables
from schemas.codec import decode
from schemas.reasons import Billing, Reason
from streams.decision import EVENT_CHECKS, RANKS, STANDING_CHECKS
from streams.facts import CHANNELS
from streams.held_events import HeldEvents
from streams.label_desk import LabelDesk
from streams.label_facts import LabelEntry
from streams.label_history import Label as Registered
from streams.label_lookup import LabelLookup
from streams.packed_labels import pack
from streams.plans import Plan
from streams.raw_record import RawRecord
from streams.rights import RightsSnapshot
from streams.routing import route_batch
from streams.rule_sets import USPS_RULES
from tests.mutation.run import run
from tests.records_support import decoded
from tests.unit.streams.log_building import APP_ID
from tests.unit.streams.naive_model import Asked, answers
from tests.unit.streams.worlds import (
    Outcome,
    World,
    WorldEvent,
    delivered_line,
    load,
    outcome,
    paths,
    planned,
)

PATHS = paths()
WORLDS_MIN = 60


@pytest.fixture(params=PATHS, ids=lambda path: path.stem)
def world(request: pytest.FixtureRequest) -> World:
    path: Path = request.param
    return load(path)


def test_each_tenant_gets_what_the_world_says_and_the_reason_for_what_it_does_not(world):
    assert outcome(world) == world.expected


def test_the_plan_is_the_decision(world):
    def plan_of(rights: RightsSnapshot, event: WorldEvent) -> Plan:
        channel = CHANNELS.index(event.channel)
        return rights.plan(event.mid.encode(), channel, event.at_ms)

    for _ in range(2):  # made, then remembered
        assert planned(world, plan_of) == replace(world.expected, denied=frozenset())


def test_every_candidate_is_explained(world):
    for name, event in world.events.items():
        judged = world.snapshots[event.after].explain(event.facts(), event.at_ms)
        said = [line.split() for line in world.expected.delivered | world.expected.denied]
        assert {one.grant.tenant_id for one in judged} == {t for e, t, *_ in said if e == name}
        allowed = {one.grant.grant_id for one in judged if one.reason is Reason.ALLOWED}
        named = [line.split() for line in world.expected.delivered]
        assert {grant_id for e, _, grant_id, *_ in named if e == name} <= allowed


def test_the_naive_model_says_the_same(world):
    delivered, denied = set(), set()
    for name, event in world.events.items():
        asked = Asked(
            event.mid,
            event.channel,
            event.at_ms,
            event.time_ms,
            event.time_basis == "UTC",
            event.label,
        )
        for tenant, said in answers(world.history[: world.marks[event.after]], asked).items():
            if said.reason is Reason.ALLOWED:
                line = delivered_line(name, tenant, said.grant_id, said.restricted, said.billing)
                delivered.add(line)
            else:
                denied.add(f"{name} {tenant} {said.reason.value}")
    assert (delivered, denied) == (world.expected.delivered, world.expected.denied)


def test_the_auditor_says_the_same(world):
    delivered, denied, withheld = set(), set(), set()
    for name, event in world.events.items():
        tables = Tables()
        for kind, body in world.history[: world.marks[event.after]]:
            tables.put(kind, body)
        candidates = Candidates()
        candidates.refresh(tables)
        made = event.label
        label = Label(made.mid, made.generated_by, made.merchant_token_id) if made else None
        scan = Scan(event.time_ms, event.time_basis == "UTC", label)
        said = entitled(candidates, event.mid, event.channel, event.at_ms, scan)
        for tenant, grant_id in said.allowed.items():
            billing = said.billing[tenant]
            delivered.add(delivered_line(name, tenant, grant_id, tenant in said.uncut, billing))
        denied |= {f"{name} {tenant} {reason.value}" for tenant, reason in said.denied.items()}
        if not said.allowed:
            withheld.add(f"{name} {said.reason.value}")
    found = Outcome(frozenset(delivered), frozenset(denied), frozenset(withheld))
    assert found == replace(world.expected, awaits=frozenset())


def desk_with(label: LabelEntry | None) -> LabelDesk:
    """Labels among which every number has this one; it covers any scan."""

    def find(partition: int, pics: Sequence[bytes]) -> list[bytes | None]:
        if label is None:
            return [None] * len(pics)
        always = (0, -(1 << 45), 1 << 45, None, "")
        one = Registered("l1", label.mid, label.generated_by, label.merchant_token_id, *always)
        return [pack("", [one])] * len(pics)

    held = HeldEvents(events_max=10, bytes_max=1 << 20, hold_ms=1_000)
    return held.desk(LabelLookup(find), 0)


def test_the_records_of_each_tenant_topic_are_those_the_world_delivers(world):
    """With the label of each event in the registry; who waits for one is held for."""
    placed, expected, waiting = set(), set(), set()
    for offset, (name, event) in enumerate(world.events.items()):
        rights = world.snapshots[event.after]
        raw = RawRecord(0, offset, 5, b"k", event.value())
        desk = desk_with(event.label)
        routed = route_batch([raw], rights, event.at_ms, app_id=APP_ID, desk=desk)
        said = [line.split() for line in world.expected.delivered]
        expected |= {
            (name, tenant, grant_id, "uncut" in more)
            for e, tenant, grant_id, *more in said
            if e == name
        }
        waiting |= {f"{name} {tenant}" for held in routed.holds.added for tenant in held.awaits}
        for (topic, _), records in routed.tenant.items():
            [(_, value, _, headers)] = decoded(records)
            assert value is not None
            uncut = decode(value)[1]["restricted"] is not None
            assert "mg-label" not in dict(headers), "its number names the owner"
            grant_id = dict(headers)["mg-grant"].decode()
            placed.add((name, topic.removeprefix("midgate.tenant."), grant_id, uncut))
    assert waiting == world.expected.awaits
    assert placed == expected


def test_worlds_cover_every_reason_billing_rule_and_party_type():
    """A reason, a rule or a party without a world would be a rule without a test."""
    worlds = [load(path) for path in PATHS]
    assert len(worlds) >= WORLDS_MIN
    reasons = {line.split()[2] for one in worlds for line in one.expected.denied}
    reasons |= {line.split()[1] for one in worlds for line in one.expected.withheld}
    assert reasons == {reason.value for reason in Reason} - {
        *("allowed", "label_needed", "label_ambiguous")
    }
    words = {word for one in worlds for line in one.expected.delivered for word in line.split()[3:]}
    billed = {billing.value for billing in Billing if billing is not Billing.NO_COST_PARTY}
    assert words == {"uncut", *billed}
    pairs = {
        (one.log.rights.tenants[grant.tenant_id].party_type, grant.basis)
        for one in worlds
        for grant in one.log.rights.grants.values()
    }
    assert {(row.party_type, row.basis) for row in USPS_RULES.rows} <= pairs


def test_checks_stand_in_the_order_of_the_reasons():
    """The furthest denial is told by rank, so the order of the checks is the order of the enum."""
    checked = [reason for reason, _ in (*STANDING_CHECKS, *EVENT_CHECKS)]
    ranks = [RANKS[reason] for reason in checked]
    assert ranks == sorted(set(ranks))
    assert set(checked) == set(Reason) - {
        Reason.NO_GRANT,
        Reason.ALLOWED,
        Reason.LABEL_NEEDED,
        Reason.LABEL_AMBIGUOUS,
    }


def test_every_change_of_the_decision_table_is_noticed_by_some_world():
    """Or a world is missing. `python -m tests.mutation.run` prints the figures."""
    figures = run()
    assert figures["survivors"] == []
    assert figures["groups"]["rule"]["mutants"] == figures["groups"]["rule"]["caught"] > 0
