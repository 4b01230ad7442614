"""A wrong grant, written down afterwards: who got what wrongly, and what a change would change."""

import csv
import io
import time
from typing import Any

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from streams.grant_csv import HEADER
from streams.instants import format_instant
from tests.integration.cli.test_explain import ACME, GLOBEX, NOBODY, Stage, route, stage
from tests.rights_support import RightsOffice
from tests.router_support import barcode, event

pytestmark = [pytest.mark.broker, pytest.mark.timeout(120)]

__all__ = ["stage"]


async def _rights(office: RightsOffice) -> None:
    await office.add_tenant("acme")
    await office.add_tenant("globex", partitions=2)
    await office.grant("acme", ACME, "g1")
    await office.grant("globex", ACME, "g2")
    await office.grant("globex", GLOBEX, "g3")


def rows_of(stage: Stage, grant: str) -> list[dict[str, str]]:
    code, _ = stage("breach", "--grant", grant, "--output", "csv", output="csv")
    assert code == 0, stage.errors
    return list(csv.DictReader(io.StringIO(stage.text)))


def test_a_breach_lists_what_was_delivered_wrongly_and_what_was_not(stage, tmp_path):
    numbers = [barcode(ACME, n) for n in range(1, 21)]
    first = [event(number, recipient="J. DOE") for number in numbers]
    later = [event(barcode(ACME, 99)), event(barcode(GLOBEX, 1))]
    route(stage, tmp_path, (_rights, first), (lambda office: office.revoke("g2"), later))

    assert stage("breach", "--grant", "g2")[0] == 2, "nothing was found wrong yet"
    code, answer = stage(
        *("grant", "correct", "g2", "--wrong-from", "2026-04-01", "--id", "c-1"),
        *("--known-at", format_instant(int(time.time() * 1000)), "--reason", "wrong MID"),
    )
    assert code == 0, stage.errors
    assert answer["change"]["correction"] == "c-1"
    rows = rows_of(stage, "g2")
    assert sorted(row["barcode"] for row in rows) == sorted(numbers)
    assert {row["kind"] for row in rows} == {"delivered_wrongly"}
    assert {(row["tenant"], row["personal_data"]) for row in rows} == {("globex", "no")}
    assert "J. DOE" not in stage.text
    code, answer = stage("breach", "--grant", "g2", output="json")
    assert answer["breach"]["counts"] == [
        {"tenant": "globex", "kind": "delivered_wrongly", "events": 20}
    ]
    assert answer["breach"]["corrections"][0]["known_at"]
    assert len(answer["breach"]["events"]) == 20
    places = {row["position"] for row in rows}
    explained = stage.explain(rows[0]["event_id"])["events"]
    assert {one["event"]["position"] for one in explained} <= places

    # The reverse: the revocation was a mistake, too.
    assert stage("grant", "correct", "g2", "--id", "c-1", "--withdraw")[0] == 0
    missing = ("--wrong-from", "2026-04-01", "--should-have-counted")
    assert stage("grant", "correct", "g2", *missing)[0] == 0
    rows = rows_of(stage, "g2")
    assert [(row["kind"], row["barcode"]) for row in rows] == [("not_delivered", barcode(ACME, 99))]
    shown = stage("grant", "show", "g2")[1]["grant"]["corrections"]
    assert {one["withdrawn"] for one in shown} == {True, False}


def test_what_retention_took_is_named_and_not_left_out(stage, tmp_path):
    numbers = [barcode(ACME, n) for n in range(1, 9)]
    kept = event(barcode(ACME, 50))
    route(stage, tmp_path, (_rights, [event(number) for number in numbers]), (None, [kept]))
    stage("grant", "correct", "g2", "--wrong-from", "2026-04-01")
    before = rows_of(stage, "g2")
    assert len(before) == 9
    place = next(row["position"] for row in before if row["barcode"] == kept[0].decode())
    partition, offset = map(int, place.split(":"))
    admin = AdminClient({"bootstrap.servers": stage.kafka.bootstrap})
    gone = TopicPartition(stage.layout.topics.raw, partition, offset)
    for done in admin.delete_records([gone]).values():
        done.result(20)
    rows = rows_of(stage, "g2")
    [gap] = [row for row in rows if row["kind"] == "not_recorded"]
    assert gap["from"] == "2026-04-01T00:00:00Z"
    assert gap["to"] == next(row["decided_at"] for row in before if row["position"] == place)
    still = {row["position"] for row in before if int(row["position"].split(":")[0]) != partition}
    assert {row["position"] for row in rows if row["kind"] != "not_recorded"} == still | {place}


def test_a_plan_says_who_gains_and_loses_and_writes_nothing(stage, tmp_path):
    events = [event(barcode(ACME, n)) for n in range(1, 11)]
    events += [event(barcode(NOBODY, n)) for n in range(1, 4)]
    route(stage, tmp_path, (_rights, events))
    file = tmp_path / "grants.csv"
    row = f"g9,acme,MID,{NOBODY},,see,OWNER,,2026-04-01T00:00:00Z,,contract"
    file.write_text("\n".join([",".join(HEADER), row]))
    ended = tmp_path / "ended.csv"
    ended.write_text(f"grant_id,tenant,mid\n,globex,{ACME}\n")

    def ends() -> tuple[Any, ...]:
        return tuple(stage("topics", "list")[1]["topics"] and stage("grant", "list")[1]["grants"])

    grants = ends()
    code, answer = stage("grant", "plan", str(file), "--revocations", str(ended))
    assert code == 0, stage.errors
    told = {row["tenant"]: (row["gained"], row["lost"]) for row in answer["plan"]["tenants"]}
    assert told == {"acme": (3, 0), "globex": (0, 10)}
    assert answer["plan"]["events"] == 13
    assert len(answer["plan"]["tenants"][0]["examples"]["gained"]) == 3
    assert ends() == grants
    told = stage("grant", "plan", "--revoke", "g1", "--revoke", "g3")[1]["plan"]["tenants"]
    assert [(row["tenant"], row["lost"]) for row in told] == [("acme", 10)]
    assert stage("grant", "plan", "--revoke", "nothing")[0] == 2
    file.write_text("\n".join([",".join(HEADER), row.replace("acme", "nobody")]))
    assert stage("grant", "plan", str(file))[0] == 2
