"""Records that retention takes while they are looked for: called gone, and never an error."""

import csv
import io
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from midgate import breach_replay, explaining, grant_plan, raw_search
from midgate.delivery_search import CopySearch
from midgate.ledger_reading import LedgerSearch
from tests.integration.cli.test_explain import ACME, RETAIL, Stage, route, stage
from tests.rights_support import RightsOffice
from tests.router_support import barcode, event

pytestmark = [pytest.mark.broker, pytest.mark.timeout(120)]

__all__ = ["stage"]


async def _rights(office: RightsOffice) -> None:
    await office.add_tenant("acme")
    await office.grant("acme", ACME, "g1")


@pytest.fixture
def before(monkeypatch: Any) -> Callable[..., None]:
    """Let something happen on the broker right before a step of a search, once."""

    def arrange(owner: Any, name: str, happens: Callable[[], None]) -> None:
        real = getattr(owner, name)
        left = [happens]

        async def step(*arguments: Any, **options: Any) -> Any:
            while left:
                left.pop()()
            return await real(*arguments, **options)

        monkeypatch.setattr(owner, name, step)

    return arrange


def deleting(stage: Stage, topic: str, partitions: int) -> Callable[[], None]:
    """What retention does, at once."""

    def delete() -> None:
        admin = AdminClient({"bootstrap.servers": stage.kafka.bootstrap})
        gone = [TopicPartition(topic, number, -1) for number in range(partitions)]
        for done in admin.delete_records(gone).values():
            done.result(20)

    return delete


def raw_deleted(stage: Stage) -> Callable[[], None]:
    return deleting(stage, stage.layout.topics.raw, stage.layout.partitions)


def routed(stage: Stage, tmp_path: Any) -> str:
    number = barcode(ACME, 1)
    others = [event(barcode(ACME, n)) for n in range(2, 20)]
    route(stage, tmp_path, (_rights, [event(number), *others]))
    return number


def test_a_position_that_goes_while_it_is_read(stage, tmp_path, before):
    place = stage.positions(routed(stage, tmp_path))[0]
    before(explaining, "records_between", raw_deleted(stage))
    assert stage.explain(place)["outcome"] == "no longer recorded"


def test_raw_that_goes_while_it_is_searched(stage, tmp_path, before):
    event_id = stage.explain(routed(stage, tmp_path))["events"][0]["event"]["event_id"]
    before(raw_search._Reader, "_scan", raw_deleted(stage))
    said = stage.explain(event_id)
    assert said["outcome"] == "no longer recorded"
    assert said["search"]["recorded_from"]


def test_a_copy_that_goes_while_it_is_looked_for(stage, tmp_path, before):
    number = routed(stage, tmp_path)
    before(CopySearch, "_read", deleting(stage, stage.layout.topics.tenant("acme"), 1))
    [copy] = stage.explain(number)["events"][0]["delivered"]
    assert copy["found"] == "no_longer_recorded"


def test_a_wait_whose_end_goes_while_it_is_looked_for(stage, tmp_path, before):
    route(stage, tmp_path, (_rights, [event(RETAIL)]), (None, [event(RETAIL, code="03")]))
    ledger = stage.layout.topics.ledger
    before(LedgerSearch, "held", deleting(stage, ledger, stage.layout.partitions))
    waited, _ = stage.explain(RETAIL)["events"]
    assert waited["held"] == {"state": "no_longer_recorded"}


def test_events_that_go_during_a_breach_are_named(stage, tmp_path, before):
    routed(stage, tmp_path)
    assert stage("grant", "correct", "g1", "--wrong-from", "2026-04-01")[0] == 0
    before(breach_replay.PartitionReplay, "_start", raw_deleted(stage))
    code, _ = stage("breach", "--grant", "g1", "--output", "csv", output="csv")
    assert code == 0, stage.errors
    [row] = csv.DictReader(io.StringIO(stage.text))
    assert (row["kind"], row["from"]) == ("not_recorded", "2026-04-01T00:00:00Z")
    assert "not recorded any more" in stage.errors


def test_events_that_go_during_a_plan_are_named(stage, tmp_path, before):
    routed(stage, tmp_path)
    before(grant_plan, "_caught_up", raw_deleted(stage))
    code, answer = stage("grant", "plan", "--revoke", "g1")
    assert code == 0, stage.errors
    assert (answer["plan"]["events"], answer["plan"]["tenants"]) == (0, [])
    assert any("no longer recorded" in note for note in answer["plan"]["notes"])
