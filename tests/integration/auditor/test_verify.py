"""What the judge is for, on a real broker: planted faults, events in flow, less than everything."""

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from auditor.contents import Contents, Scope
from auditor.findings import FindingKind
from auditor.report import Report
from auditor.run import audit
from midgate.cli import run
from streams.settings import KafkaSettings, LayoutSettings
from streams.topics import TopicNames
from tests.integration.auditor.conftest import Write
from tests.kafka_support import KafkaUnderTest
from tests.rights_support import rights_office
from tests.router_support import barcode, event, offer
from tests.unit.auditor.label_world import labelled
from tests.unit.auditor.world import (
    APP,
    LABEL_NEEDED,
    NOW,
    RAW,
    clean,
    delivered,
    quarantined,
    records,
)
from tests.worker_process import running_worker

pytestmark = pytest.mark.broker

ACME, GLOBEX = "901234567", "907654321"
OWNED = "9205590123456700000017"
ROUNDS = 3


def _missing(acme: list[Any]) -> None:
    del acme[1]


def _extra(acme: list[Any]) -> None:
    acme.append(delivered(0, 9, RAW[1][2]._replace(offset=9), "g-acme", OWNED))


def _doubled(acme: list[Any]) -> None:
    acme.append(acme[-1])


def _swapped(acme: list[Any]) -> None:
    acme[0], acme[2] = acme[2], acme[0]


def _uncut(acme: list[Any]) -> None:
    acme[0] = acme[0]._replace(value=RAW[0][0].value)


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize(
    ("plant", "kind", "offset", "raw"),
    [
        (_missing, FindingKind.MISSING, -1, (1, 0)),
        (_extra, FindingKind.EXTRA, 3, (1, 9)),
        (_doubled, FindingKind.DOUBLED, 3, (0, 2)),
        (_swapped, FindingKind.OUT_OF_ORDER, 2, (0, 0)),
        (_uncut, FindingKind.NOT_CUT, 0, (0, 0)),
    ],
)
async def test_each_planted_fault_is_found_where_it_stands(
    kafka: KafkaUnderTest,
    prefix: str,
    write: Write,
    processes: int,
    plant: Callable[[list[Any]], None],
    kind: FindingKind,
    offset: int,
    raw: tuple[int, int],
) -> None:
    """One record of one tenant is not as it must be, and nothing else is found."""
    contents = clean(prefix)
    topic = f"{prefix}.tenant.acme"
    plant(records(contents, topic))
    await write(contents)
    options = {"bootstrap_servers": kafka.bootstrap}
    report = await audit(options, prefix, APP, processes=processes)
    found = [(one.kind, one.topic, one.partition, one.offset, one.raw) for one in report.findings]
    assert found == [(kind, topic, 0, offset, raw)]


def _released_missing(acme: list[Any]) -> None:
    del acme[2]


def _never_released(acme: list[Any]) -> None:
    waited = RAW[1][0]._replace(offset=3, timestamp=RAW[1][0].timestamp + 3)
    acme.append(delivered(0, 4, waited, "g-acme", LABEL_NEEDED, named_by=b"0:l0"))


def _released_doubled(acme: list[Any]) -> None:
    acme.insert(3, acme[2])


def _released_late(acme: list[Any]) -> None:
    acme[2], acme[3] = acme[3], acme[2]


def _released_uncut(acme: list[Any]) -> None:
    acme[2] = acme[2]._replace(value=RAW[0][1].value)


def _other_label(acme: list[Any]) -> None:
    headers = [("mg-label", b"1:l1") if n == "mg-label" else (n, v) for n, v in acme[2].headers]
    acme[2] = acme[2]._replace(headers=tuple(headers))


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize(
    ("plant", "kind", "offset", "raw"),
    [
        (_released_missing, FindingKind.MISSING, -1, (0, 1)),
        (_never_released, FindingKind.WRONG_TENANT, 4, (1, 3)),
        (_released_doubled, FindingKind.DOUBLED, 3, (0, 1)),
        (_released_late, FindingKind.OUT_OF_ORDER, 3, (0, 1)),
        (_released_uncut, FindingKind.NOT_CUT, 2, (0, 1)),
        (_other_label, FindingKind.WRONG_HEADERS, 2, (0, 1)),
    ],
)
async def test_each_fault_in_what_waited_for_a_label_is_found_where_it_stands(
    kafka: KafkaUnderTest,
    prefix: str,
    write: Write,
    processes: int,
    plant: Callable[[list[Any]], None],
    kind: FindingKind,
    offset: int,
    raw: tuple[int, int],
) -> None:
    """An event that waited is delivered later than in its turn, and by its label alone."""
    contents = labelled(prefix)
    topic = f"{prefix}.tenant.acme"
    plant(records(contents, topic))
    await write(contents)
    options = {"bootstrap_servers": kafka.bootstrap}
    report = await audit(options, prefix, APP, processes=processes)
    found = [(one.kind, one.topic, one.partition, one.offset, one.raw) for one in report.findings]
    assert found == [(kind, topic, 0, offset, raw)]


async def test_an_installation_with_labels_verifies(
    kafka: KafkaUnderTest, prefix: str, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the command; the header of a label, and events that waited, are as they must be."""
    await write(labelled(prefix))
    place = ["--bootstrap", kafka.bootstrap, "--prefix", prefix, "--app-id", APP]
    code = await asyncio.to_thread(run, [*place, "verify", "--output", "json"])
    answer = json.loads(capsys.readouterr().out)["verify"]
    assert (code, answer["ok"], answer["held"]) == (0, True, 0)
    assert answer["withheld"] == {"label_needed": 2, "no_grant": 1}


async def test_nothing_in_flight_is_a_finding(
    tmp_path: Path,
    kafka_settings: KafkaSettings,
    layout_settings: LayoutSettings,
    midgate_topics: TopicNames,
) -> None:
    """Judged again and again while a worker routes and rights change; at rest, all is judged."""
    async with rights_office(kafka_settings, layout_settings) as office:
        await office.add_tenant("acme")
        await office.add_tenant("globex", partitions=2)
        await office.grant("acme", ACME, "g-1")
        await office.grant("globex", GLOBEX, "g-2")

        offered = 0

        async def offering() -> None:
            nonlocal offered
            for number in count():
                some = [
                    event(barcode(mid, number * 100 + n), recipient="J. DOE")
                    for n in range(50)
                    for mid in (ACME, GLOBEX)
                ]
                await offer(kafka_settings, midgate_topics.raw, some)
                offered += len(some)
                change = f"g-{number}-more"
                await office.grant("globex" if number % 2 else "acme", ACME, change)
                await office.revoke(change)

        with running_worker(tmp_path, kafka_settings, layout_settings) as worker:
            await asyncio.to_thread(worker.wait_ready, 2)
            flow = asyncio.create_task(offering())
            judged: list[int] = []
            async with asyncio.timeout(60):
                while len(judged) < ROUNDS or judged[-1] == judged[0]:
                    report = await _audit(kafka_settings, layout_settings, at_rest=False)
                    assert report.ok, report.as_text()
                    judged.append(sum(report.judgement.judged_to.values()))
                    assert not flow.done(), "events flow while it judges"
            assert judged == sorted(judged)
            flow.cancel()
            with suppress(asyncio.CancelledError):
                await flow
            async with asyncio.timeout(60):
                while not (report := await _audit(kafka_settings, layout_settings)).ok:
                    assert set(report.judgement.findings.counts) == {FindingKind.UNDECIDED}
    assert report.judgement.tally.decided >= offered
    assert report.judgement.tally.has["acme"] > 0


async def _audit(kafka: KafkaSettings, layout: LayoutSettings, *, at_rest: bool = True) -> Report:
    scope = Scope(at_rest=at_rest)
    options = {"bootstrap_servers": kafka.bootstrap}
    return await audit(options, layout.prefix, layout.app_id, scope=scope)


async def test_only_one_tenant_is_judged(kafka: KafkaUnderTest, prefix: str, write: Write) -> None:
    """What is wrong elsewhere is not read."""
    contents = clean(prefix)
    del records(contents, f"{prefix}.tenant.acme")[0]
    records(contents, f"{prefix}.quarantine", 0).append(quarantined(RAW[0][0], "check_digit"))
    await write(contents)
    options = {"bootstrap_servers": kafka.bootstrap}
    globex = await audit(options, prefix, APP, scope=Scope("globex"))
    assert globex.ok, globex.as_text()
    assert globex.as_json()["tenants"] == {"globex": {"due": 3, "has": 3, "denied": {}}}
    acme = await audit(options, prefix, APP, scope=Scope("acme"))
    assert dict(acme.judgement.findings.counts) == {FindingKind.MISSING: 1}


async def test_what_was_received_before_is_context(
    kafka: KafkaUnderTest, prefix: str, write: Write
) -> None:
    """The first raw record of each partition is older; its delivery may be gone."""
    contents = clean(prefix)
    del records(contents, f"{prefix}.tenant.acme")[0]
    await write(contents)
    options = {"bootstrap_servers": kafka.bootstrap}
    since = RAW[0][1].timestamp
    report = await audit(options, prefix, APP, scope=Scope(since_ms=since))
    assert report.ok, report.as_text()
    assert report.judgement.tally.decided == 4
    report = await audit(options, prefix, APP, scope=Scope(since_ms=RAW[0][0].timestamp))
    assert dict(report.judgement.findings.counts) == {FindingKind.MISSING: 1}
    report = await audit(options, prefix, APP, scope=Scope(since_ms=NOW))
    assert (report.ok, report.judgement.tally.decided) == (True, 0)


async def test_raw_taken_by_retention_is_named(
    kafka: KafkaUnderTest, prefix: str, installation: Contents
) -> None:
    """What can no longer be recomputed is said, and is no finding."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        place = TopicPartition(f"{prefix}.raw", 0)
        await admin.delete_records({place: RecordsToDelete(before_offset=2)})
    finally:
        await admin.close()
    report = await audit({"bootstrap_servers": kafka.bootstrap}, prefix, APP)
    assert report.ok, report.as_text()
    assert report.notes == [
        "2 delivered records about raw that is no longer recorded or not asked for; not judged"
    ]


async def test_the_command(
    kafka: KafkaUnderTest, prefix: str, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    """0 right, 7 wrong, 2 no such tenant or installation, 4 no broker; data on stdout."""
    contents = clean(prefix)
    del records(contents, f"{prefix}.tenant.acme")[0]
    await write(contents)

    def midgate(*arguments: str, bootstrap: str = kafka.bootstrap) -> tuple[int, str, str]:
        place = ("--bootstrap", bootstrap, "--prefix", prefix, "--app-id", APP)
        code = run([*place, "verify", *arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    async def called(*arguments: str, **more: str) -> tuple[int, str, str]:
        return await asyncio.to_thread(midgate, *arguments, **more)

    code, out, err = await called("--output", "json")
    answer = json.loads(out)["verify"]
    assert (code, answer["findings_by_kind"], "explain" in err) == (7, {"missing": 1}, True)
    assert answer["findings"][0]["raw"] == "0-0"
    assert answer["judged"] == {"0": {"to": 4, "raw_end": 3}, "1": {"to": 3, "raw_end": 3}}
    code, out, _ = await called("--tenant", "globex")
    assert (code, "ok: every topic" in out) == (0, True)
    code, _, err = await called("--tenant", "nobody")
    assert (code, "no such tenant: nobody" in err) == (2, True)
    assert (await called("--since", "yesterday"))[0] == 2
    assert (await called(bootstrap="127.0.0.1:1"))[0] == 4
