"""Explaining, correcting and revealing, as an operator does it, on what a worker really routed."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from midgate.cli import run
from streams.label_csv import HEADER as LABEL_HEADER
from streams.settings import KafkaSettings, LayoutSettings
from tests.rights_support import RightsOffice, rights_office
from tests.router_support import barcode, event, offer
from tests.worker_process import running_worker

pytestmark = [pytest.mark.broker, pytest.mark.timeout(120)]

ACME, GLOBEX, NOBODY = "901234567", "907654321", "900000001"
NAME = "J. DOE"
RETAIL = "9505511069605048600624"


class Stage:
    """An installation with routed events, and its command line."""

    def __init__(self, kafka: KafkaSettings, layout: LayoutSettings, capsys: Any) -> None:
        self.kafka, self.layout, self._capsys = kafka, layout, capsys
        self.errors = ""
        self.text = ""

    def __call__(self, *arguments: str, output: str = "json") -> tuple[int, Any]:
        self._capsys.readouterr()  # what the test's own clients said
        prefix = self.layout.prefix
        place = ["--bootstrap", self.kafka.bootstrap, "--prefix", prefix, "--app-id", prefix]
        code = run([*place, *arguments, "--output", output])
        said = self._capsys.readouterr()
        self.errors, self.text = said.err, said.out
        return code, json.loads(said.out) if output == "json" and said.out.strip() else {}

    def explain(self, *arguments: str) -> dict[str, Any]:
        code, answer = self("explain", *arguments)
        assert code == 0, self.errors
        explained: dict[str, Any] = answer["explain"]
        return explained

    def positions(self, number: str) -> list[str]:
        return [one["event"]["position"] for one in self.explain(number)["events"]]


@pytest.fixture
def stage(
    kafka_settings: KafkaSettings,
    layout_settings: LayoutSettings,
    midgate_topics: Any,
    capsys: Any,
    monkeypatch: Any,
    tmp_path: Path,
) -> Stage:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return Stage(kafka_settings, layout_settings, capsys)


def route(
    stage: Stage, tmp_path: Path, *parts: tuple[Callable[..., Any] | None, list[Any]]
) -> None:
    """Offer each part's events once its change of the rights is accepted, and wait for routing."""

    async def change(step: Callable[[RightsOffice], Any]) -> None:
        async with rights_office(stage.kafka, stage.layout) as office:
            await step(office)

    total = 0
    for step, _ in parts[:1]:
        if step is not None:
            asyncio.run(change(step))
    with running_worker(tmp_path, stage.kafka, stage.layout) as worker:
        worker.wait_ready(2)
        for number, (step, events) in enumerate(parts):
            if number and step is not None:
                asyncio.run(change(step))
            asyncio.run(offer(stage.kafka, stage.layout.topics.raw, events))
            total += len(events)
            expected = total
            worker.wait_for(
                "all is routed",
                lambda expected=expected: worker.metric("midgate_events_routed_total") >= expected,
            )


async def _rights(office: RightsOffice) -> None:
    await office.add_tenant("acme")
    await office.add_tenant("globex", partitions=2)
    await office.grant("acme", ACME, "g1")
    await office.grant("globex", ACME, "g2")


def test_an_event_is_explained_as_it_was_decided_and_found_where_it_stands(stage, tmp_path):
    number = barcode(ACME, 1)
    others = [event(barcode(ACME, n)) for n in range(2, 60)]
    first = [*others[:30], event(number, code="03", recipient=NAME), *others[30:]]
    later = [event(number, code="10"), event(barcode(NOBODY, 5))]
    route(stage, tmp_path, (_rights, first), (lambda office: office.revoke("g2"), later))

    explained = stage.explain(number)
    assert (explained["outcome"], explained["owner"]) == ("delivered", ACME)
    assert {row["tenant"]: row["reason"] for row in explained["tenants"]} == {
        "acme": "allowed",
        "globex": "grant_revoked",
    }
    before, after = explained["events"]
    assert (before["event"]["event_code"], after["event"]["event_code"]) == ("03", "10")
    assert {row["tenant"]: row["reason"] for row in before["tenants"]} == {
        "acme": "allowed",
        "globex": "allowed",
    }, "the rights as they were"
    assert {row["reason"] for row in after["tenants"]} == {"allowed", "grant_revoked"}
    assert [(copy["tenant"], copy["found"]) for copy in before["delivered"]] == [
        ("acme", "yes"),
        ("globex", "yes"),
    ]
    assert [copy["tenant"] for copy in after["delivered"]] == ["acme"]
    assert NAME not in stage.text

    by_id = stage.explain(before["event"]["event_id"])
    assert [one["event"] for one in by_id["events"]] == [before["event"]]
    by_position = stage.explain(before["event"]["position"])
    assert by_position["delivered"] == before["delivered"]
    again = stage.explain(before["event"]["position"], "--at", "now")
    assert {row["reason"] for row in again["tenants"]} == {"allowed", "grant_revoked"}
    assert again["delivered"] == []
    version = before["decided"]["version"]
    then = stage.explain(number, "--at", str(version))
    assert {row["reason"] for row in then["tenants"]} == {"allowed"}

    copy = before["delivered"][0]
    code, answer = stage("tail", "--tenant", "acme", "-n", "100")
    assert code == 0
    stands = {row["position"]: row["headers"]["ce_id"] for row in answer["events"]}
    place = before["event"]["position"].replace(":", "-")
    assert stands[f"{copy['partition']}:{copy['offset']}"] == place


def test_an_index_finds_what_a_scan_finds_and_the_tail_behind_it(stage, tmp_path):
    number = barcode(ACME, 1)
    route(stage, tmp_path, (_rights, [event(number, code="03"), event(barcode(ACME, 2))]))
    scanned = stage.explain(number)
    assert scanned["search"]["how"] == "scan"
    code, answer = stage("index", "--once")
    assert (code, answer["index"]["records"], answer["index"]["lag"]) == (0, 2, 0)
    found = stage.explain(number)
    assert (found["search"]["how"], found["search"]["scanned"]) == ("index", 0)
    assert found["events"] == scanned["events"]

    route(stage, tmp_path, (None, [event(number, code="10")]))
    found = stage.explain(number)
    assert [one["event"]["event_code"] for one in found["events"]] == ["03", "10"]
    assert found["search"]["how"] == "index"
    assert found["search"]["scanned"] > 0, "what the index lacks is read"
    assert stage("index", "--once")[1]["index"]["records"] == 1
    assert len(stage.explain(found["events"][1]["event"]["event_id"])["events"]) == 1
    assert len(stage("index", "--show")[1]["index"]) == 2 * stage.layout.partitions


def test_a_wait_for_a_label_is_explained_from_both_ends(stage, tmp_path):
    """Withheld first, decided anew under the label that came; by the topic, then by the index."""
    route(stage, tmp_path, (_rights, [event(RETAIL, code="03")]))
    [waiting] = stage.explain(RETAIL)["events"]
    assert (waiting["outcome"], waiting["reason"]) == ("withheld", "label_needed")
    assert (waiting["held"], waiting["label"]["known"]) == ({"state": "waiting"}, 0)

    file = tmp_path / "labels.csv"
    row = f"{RETAIL},l-1,{ACME},acme,,,2026-07-20,2026-08-20,,"
    file.write_text("\n".join([",".join(LABEL_HEADER), row]))
    assert stage("labels", "import", str(file))[0] == 0, stage.errors
    route(stage, tmp_path, (None, [event(RETAIL, code="10")]))

    def explained() -> list[dict[str, Any]]:
        first, later = stage.explain(RETAIL)["events"]
        assert first["held"]["state"] == "decided_anew"
        assert first["held"]["first"]["version"] <= first["decided"]["version"]
        for one in (first, later):
            assert (one["outcome"], one["owner"]) == ("delivered", ACME)
            assert one["label"]["label"]["label_id"] == "l-1"
            assert {copy["found"] for copy in one["delivered"]} == {"yes"}
        assert "held" not in later
        return [first, later]

    scanned = explained()
    answer = stage("index", "--once")[1]["index"]
    assert (answer["records"], answer["labels"] > 0) == (2, True)
    assert explained() == scanned
    before = stage.explain(scanned[0]["event"]["position"], "--at", "1")
    assert (before["reason"], before["label"]["known"]) == ("label_needed", 0)


def test_a_long_scan_is_made_only_when_it_is_asked_for(stage, tmp_path, monkeypatch):
    from midgate import raw_search

    number = barcode(ACME, 1)
    route(stage, tmp_path, (_rights, [event(number)]))
    monkeypatch.setattr(raw_search, "UNASKED_S_MAX", 0)
    found = stage.explain(number)
    assert (found["events"], found["search"]["complete"]) == ([], False)
    assert "midgate index" in found["search"]["note"]
    asked = stage.explain(number, "--since", "2026-01-01")
    assert (len(asked["events"]), asked["search"]["complete"]) == (1, True)
    event_id = asked["events"][0]["event"]["event_id"]
    assert stage("explain", event_id)[0] == 2, "not found and not looked for are two things"
    assert stage.explain(event_id, "--since", "2026-01-01")["outcome"] == "delivered"


def test_a_tenant_hears_less_and_never_that_something_exists(stage, tmp_path):
    mine, others = barcode(ACME, 1), barcode(GLOBEX, 1)

    async def rights(office: RightsOffice) -> None:
        await _rights(office)
        await office.grant("acme", GLOBEX, "g3")

    route(stage, tmp_path, (rights, [event(mine), event(others)]))
    theirs = stage.positions(others)[0]

    def heard(what: str, tenant: str) -> dict[str, Any]:
        return stage.explain(what, "--as-tenant", tenant)

    assert heard(mine, "globex")["answer"] == "entitled"
    delivered = heard(stage.positions(mine)[0], "globex")
    assert (delivered["answer"], len(delivered["delivered"])) == ("delivered", 1)
    hidden = [heard(what, "globex") for what in (theirs, "0:999999", others, barcode(GLOBEX, 999))]
    assert {one["answer"] for one in hidden} == {"nothing_to_tell"}
    assert {tuple(sorted(one)) for one in hidden} == {tuple(sorted(delivered))}
    stage("grant", "revoke", "g2", "--yes")
    assert heard(mine, "globex")["answer"] == "right_ended"
    assert "g2" not in stage.text, "no ids of grants"


def test_what_retention_took_is_called_no_longer_recorded(stage, tmp_path):
    number = barcode(ACME, 1)
    route(stage, tmp_path, (_rights, [event(number)]))
    found = stage.explain(number)["events"][0]
    place = found["event"]["position"]
    partition = int(place.partition(":")[0])
    admin = AdminClient({"bootstrap.servers": stage.kafka.bootstrap})

    def delete(topic: str, number: int) -> None:
        [done] = admin.delete_records([TopicPartition(topic, number, -1)]).values()
        done.result(20)

    delete(stage.layout.topics.tenant("acme"), 0)
    copies = {copy["tenant"]: copy["found"] for copy in stage.explain(place)["delivered"]}
    assert copies == {"acme": "no_longer_recorded", "globex": "yes"}
    delete(stage.layout.topics.raw, partition)
    assert stage.explain(place)["outcome"] == "no longer recorded"
    gone = stage.explain(found["event"]["event_id"])
    assert gone["outcome"] == "no longer recorded"
    assert gone["search"]["recorded_from"]


def test_names_are_shown_only_to_whom_says_why_and_it_stands_recorded(stage, tmp_path):
    number = barcode(ACME, 1)
    broken = (b"k", b"\0\0\0\xff\xff " + NAME.encode())
    events = [event(number, recipient=NAME), broken]
    route(stage, tmp_path, (_rights, events))
    place = stage.positions(number)[0]
    quarantined = stage("quarantine", "list")[1]["quarantine"][0]["position"]

    shown = stage("quarantine", "show", quarantined)[1]["quarantine"]
    assert shown["value_hex"] == "hidden"
    assert NAME not in stage.text
    assert stage("explain", place, "--reveal")[0] == 2, "without a reason"
    assert stage("reveals")[1]["reveals"] == []

    why = ("--reveal", "--reason", "case 17", "--actor", "ann")
    assert stage.explain(place, *why)["restricted"]["recipient_name"] == NAME
    assert NAME in bytes.fromhex(
        stage("quarantine", "show", quarantined, *why)[1]["quarantine"]["value_hex"]
    ).decode("latin-1")
    assert stage("tail", "--tenant", "acme", *why)[0] == 0
    said = stage("reveals")[1]["reveals"]
    assert [one["topic"].rpartition(".")[2] for one in said] == ["raw", "quarantine", "acme"]
    assert {(one["actor"], one["reason"]) for one in said} == {("ann", "case 17")}
    assert said[0]["positions"] == [place]

    admin = AdminClient({"bootstrap.servers": stage.kafka.bootstrap})
    [done] = admin.delete_topics([stage.layout.topics.reveals]).values()
    done.result(20)
    code, _ = stage("explain", place, *why)
    assert code != 0
    assert NAME not in stage.text
    assert "nothing is shown" in stage.errors
