"""`midgate usage` as a person and a program use it, on units that were metered on a real broker.

The figures are worked out by hand: see `prepare`.
"""

import asyncio
import csv
import io
import json
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from midgate.cli import run
from schemas.reasons import Billing
from streams import clients
from streams.changes import agreement_change, tenant_change
from streams.metrics import Metrics
from streams.partition_meter import metering
from streams.settings import KafkaSettings, LayoutSettings, Settings
from streams.topics import TopicNames
from streams.usage_records import call_units
from streams.usage_store import UsageStores
from tests.metering_support import APRIL_MS, DAY_MS, route, values, write_facts
from tests.rights_support import rights_office

pytestmark = pytest.mark.broker

RATES = """
currency = "USD"
[[rate]]
from = "2026-04"
api = "0.5"
see = "0.25"
unlimited_month = "100"
"""
MAY_MS = APRIL_MS + 30 * DAY_MS

Midgate = Callable[..., int]


@pytest.fixture
def midgate(
    kafka_settings: KafkaSettings, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Midgate:
    rates = tmp_path / "rates.toml"
    rates.write_text(RATES)
    monkeypatch.setenv("MIDGATE_RATES_FILE", str(rates))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> int:
        common = ["--bootstrap", kafka_settings.bootstrap, "--prefix", prefix, "--app-id", prefix]
        return run([*common, *map(str, arguments)])

    return call


async def prepare(kafka: KafkaSettings, layout: LayoutSettings) -> None:
    """April of agr-1: 3 first events by SEE, 2 copies that are none, and of calls 2 packages
    billed and 1 not; before April one first event; May one. agr-2 has one number of them, too."""
    names = layout.topics
    async with rights_office(kafka, layout) as office:
        change_ids = [uuid.uuid4().bytes for _ in range(3)]
        stamp = {"base": -1, "actor": "test", "reason": "test"}
        tenant = tenant_change(
            "acme",
            name="acme",
            party_type="AUDITOR",
            topic=names.tenant("acme"),
            partitions=1,
            change_id=change_ids[0],
            **stamp,
        )
        agreements = [
            agreement_change(
                agreement_id,
                tenant_id="acme",
                fee_model=fee_model,
                effective_from=APRIL_MS,
                change_id=change_id,
                **stamp,
            )
            for agreement_id, fee_model, change_id in (
                ("agr-1", "TRANSACTION", change_ids[1]),
                ("agr-2", "UNLIMITED", change_ids[2]),
            )
        ]
        await office.append_all(list(zip([tenant, *agreements], change_ids, strict=True)))
    early = route(billing=Billing.BEFORE_METERING)
    owner = route("", "shipper", Billing.NO_COST_PARTY)
    facts = [
        *values(1, APRIL_MS - 1, [(0, 1)], early),
        *values(1, APRIL_MS, [(1, 1), (2, 2), (3, 3)], route(), owner),
        *values(1, APRIL_MS + DAY_MS, [(4, 2), (5, 4)], route()),
        *values(1, APRIL_MS + DAY_MS, [(4, 2)], route("agr-2")),
        *values(1, MAY_MS, [(6, 5)], route()),
    ]
    await write_facts(kafka, names.metering, 1, facts)
    async with metering(
        Settings(kafka=kafka, layout=layout), Metrics("test"), UsageStores(None), 1
    ) as meter:
        await meter.catch_up()
    ids = {"agreement_id": "agr-1", "tenant_id": "acme"}
    calls = call_units("c1", APRIL_MS, True, ["111", "222"], **ids)
    calls += call_units("c2", APRIL_MS, False, ["111"], **ids)
    producer = clients.idempotent_producer(kafka)
    await clients.start(producer, kafka)
    for key, value, at in calls + calls:  # at least once
        await producer.send(names.usage, value, key=key, partition=0, timestamp_ms=at)
    await producer.stop()


def test_statements_and_listings(
    midgate: Midgate,
    kafka_settings: KafkaSettings,
    layout_settings: LayoutSettings,
    midgate_topics: TopicNames,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asyncio.run(prepare(kafka_settings, layout_settings))
    capsys.readouterr()
    april = ("usage", "statement", "--agreement", "agr-1", "--month", "2026-04")
    assert midgate(*april, "-o", "json") == 0
    said = json.loads(capsys.readouterr().out)["statement"]
    # 2 × 0.50 + 3 × 0.25: of the numbers 2, 3 and 4, as 1 had its first event in March.
    assert said["billed"] == [
        {"what": "api", "count": 2, "rate": "0.5", "amount": "1.00"},
        {"what": "see", "count": 3, "rate": "0.25", "amount": "0.75"},
    ]
    assert said["not_billed"] == [
        {"reason": "call_failed", "what": "units", "channel": "api", "count": 1},
        {"reason": "not_first_event", "what": "events", "channel": "", "count": 2},
    ]
    assert (said["total"], said["currency"], said["complete"]) == ("1.75", "USD", True)
    assert (said["from"], said["to"]) == ("2026-04-01T00:00:00Z", "2026-05-01T00:00:00Z")

    assert midgate(*april, "-o", "csv") == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(row["line"], row["what"], row["reason"], row["count"], row["amount"]) for row in rows]
    assert rows[-1]["amount"] == "1.75"
    assert sum(int(row["count"]) for row in rows if row["line"] == "billed") == 5

    assert midgate(*april) == 0
    assert "not_first_event" in capsys.readouterr().out

    for month, agreement, total in (
        ("2026-05", "agr-1", "0.25"),
        ("2026-04", "agr-2", "100.00"),
        ("2026-05", "agr-2", "100.00"),
        ("2026-03", "agr-2", "0.00"),
    ):
        arguments = ("--agreement", agreement, "--month", month, "-o", "json")
        assert midgate("usage", "statement", *arguments) == 0
        assert json.loads(capsys.readouterr().out)["statement"]["total"] == total, month

    assert midgate("usage", "list", "--agreement", "agr-1", "--month", "2026-03", "-o", "json") == 0
    [row] = json.loads(capsys.readouterr().out)["usage"]
    assert (row["billing"], row["raw"]) == ("before_metering", "1:0")
    assert midgate("usage", "list", "--billing", "no_cost_party", "-o", "json") == 0
    [row] = json.loads(capsys.readouterr().out)["usage"]
    assert (row["agreement"], row["kind"], row["count"]) == ("-", "tally", 3)
    assert midgate("usage", "list", "-n", "2", "-o", "json") == 0
    kinds = [row["kind"] for row in json.loads(capsys.readouterr().out)["usage"]]
    assert kinds.count("event") + kinds.count("call") == 2

    asyncio.run(
        write_facts(kafka_settings, midgate_topics.metering, 2, values(2, APRIL_MS, [(0, 9)]))
    )
    capsys.readouterr()
    assert midgate(*april, "-o", "json") == 0
    heard = capsys.readouterr()
    assert json.loads(heard.out)["statement"]["complete"] is False
    assert "facts wait to be metered in partitions 2" in heard.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["statement", "--agreement", "nobody", "--month", "2026-04"], "agreement nobody is not"),
        (["statement", "--agreement", "a", "--month", "2026-4"], "--month 2026-4 is no month"),
        (["list", "--billing", "free"], "--billing free is no reason"),
    ],
)
def test_what_cannot_be_answered_is_refused_with_a_hint(
    midgate: Midgate,
    midgate_topics: TopicNames,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: str,
) -> None:
    assert midgate("usage", *arguments) == 2
    heard = capsys.readouterr()
    assert words in heard.err
    assert "hint:" in heard.err
    assert heard.out == ""
