"""Each world of `tests/unit/worlds` through the pure core: decided, planned, and routed."""

from pathlib import Path

import pytest

from schemas.codec import decode
from schemas.reasons import Reason
from streams.decision import CARRIED, CHECKS, RANKS, decide
from streams.facts import CHANNELS
from streams.raw_record import RawRecord
from streams.routing import route_batch
from tests.records_support import decoded
from tests.unit.streams.log_building import APP_ID
from tests.unit.streams.worlds import FOLDER, World, load

PATHS = sorted(FOLDER.glob("*.yaml"))


@pytest.fixture(params=PATHS, ids=lambda path: path.stem)
def world(request: pytest.FixtureRequest) -> World:
    path: Path = request.param
    return load(path)


def test_each_tenant_gets_what_the_world_says_and_the_reason_for_what_it_does_not(world):
    rights = world.log.rights.snapshot(0.0)
    allowed, denied, withheld = set(), set(), {}
    for name, scan in world.scans.items():
        channel = CHANNELS.index(scan.channel)
        candidates = rights.candidates(scan.mid)
        decision = decide(scan.mid, channel, scan.at_ms, candidates, rights)
        for tenant, reason, grant_id in decision.tenants:
            if reason is Reason.ALLOWED:
                allowed.add((name, tenant, grant_id))
            else:
                denied.add((name, tenant, reason.value))
        if decision.reason is not Reason.ALLOWED:
            withheld[name] = decision.reason.value
    assert allowed == world.allowed
    assert denied == world.denied
    assert withheld == world.withheld


def test_the_plan_is_the_decision(world):
    rights = world.log.rights.snapshot(0.0)
    for _ in range(2):  # made, then remembered
        allowed = set()
        for name, scan in world.scans.items():
            plan = rights.plan(scan.mid.encode(), CHANNELS.index(scan.channel), scan.at_ms)
            allowed |= {(name, route.tenant_id, route.grant_id) for route in plan.routes}
            assert plan.reason.value == world.withheld.get(name, "allowed")
            assert plan.valid_from_ms <= scan.at_ms < plan.valid_until_ms
        assert allowed == world.allowed


def test_every_candidate_is_explained(world):
    rights = world.log.rights.snapshot(0.0)
    for name, scan in world.scans.items():
        judged = rights.explain(scan.mid.encode(), CHANNELS.index(scan.channel), scan.at_ms)
        tenants = {
            tenant for scan_name, tenant, _ in world.allowed | world.denied if scan_name == name
        }
        assert {grant.tenant_id for grant, _ in judged} == tenants
        for scan_name, _, grant_id in world.allowed:
            if scan_name == name:
                assert any(
                    grant.grant_id == grant_id and reason is Reason.ALLOWED
                    for grant, reason in judged
                )


def test_the_records_of_each_tenant_topic_are_those_the_world_allows(world):
    rights = world.log.rights.snapshot(0.0)
    placed = set()
    for offset, (name, scan) in enumerate(world.scans.items()):
        raw = RawRecord(0, offset, 5, b"k", scan.value())
        routed = route_batch([raw], rights, scan.at_ms, app_id=APP_ID)
        assert dict(routed.withheld) == (
            {world.withheld[name]: 1} if name in world.withheld else {}
        )
        for (topic, _), records in routed.tenant.items():
            [(_, value, _, headers)] = decoded(records)
            assert value is not None
            assert decode(value)[1]["restricted"] is None, "the recipient's name stays here"
            grant_id = dict(headers)["mg-grant"].decode()
            placed.add((name, topic.removeprefix("midgate.tenant."), grant_id))
    assert placed == world.allowed


def test_worlds_cover_every_reason_and_every_party_type():
    """A reason or a party without a world would be a rule without a test."""
    worlds = [load(path) for path in PATHS]
    reasons = {reason for one in worlds for _, _, reason in one.denied}
    reasons |= {reason for one in worlds for reason in one.withheld.values()}
    assert reasons == {reason.value for reason in Reason} - {
        "allowed",
        "label_needed",
        "label_ambiguous",
    }
    parties = {tenant.party_type for one in worlds for tenant in one.log.rights.tenants.values()}
    assert parties == set(CARRIED)


def test_checks_stand_in_the_order_of_the_reasons():
    """The furthest denial is told by rank, so the order of the checks is the order of the enum."""
    ranks = [RANKS[reason] for reason, _ in CHECKS]
    assert ranks == sorted(set(ranks))
    assert {reason for reason, _ in CHECKS} == set(Reason) - {
        Reason.NO_GRANT,
        Reason.ALLOWED,
        Reason.LABEL_NEEDED,
        Reason.LABEL_AMBIGUOUS,
    }
