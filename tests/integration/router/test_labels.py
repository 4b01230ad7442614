"""Scans that only a label gives an owner, through a worker on a real broker."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from auditor.run import audit
from schemas.codec import decode
from streams.settings import KafkaSettings, LayoutSettings
from streams.topics import TopicNames
from tests.labels_support import DAY_MS, T0, label, online, register, scan
from tests.rights_support import rights_office
from tests.router_support import offer, placed
from tests.transaction_support import eventually
from tests.worker_process import WorkerProcess, running_worker

pytestmark = [pytest.mark.broker, pytest.mark.timeout(110)]

ACME, GLOBEX = "901234567", "907654321"
HELD = "midgate_events_held_total"
ROUTED = "midgate_events_routed_total"


@pytest_asyncio.fixture
async def names(kafka_settings, layout_settings, midgate_topics) -> AsyncIterator[TopicNames]:
    """Two shippers; after the test the judge finds everything as it must be."""
    async with rights_office(kafka_settings, layout_settings) as office:
        for tenant, mid in (("acme", ACME), ("globex", GLOBEX)):
            await office.add_tenant(tenant)
            await office.grant(tenant, mid, f"g-{tenant}")
    yield midgate_topics
    options = {"bootstrap_servers": kafka_settings.bootstrap}
    report = await audit(options, layout_settings.prefix, layout_settings.app_id)
    assert report.ok, report.as_text()
    assert report.judgement.tally.decided > 0


async def codes(kafka: KafkaSettings, topic: str, number: str) -> list[str]:
    """Event codes that a tenant has of a number, in order."""
    records = await placed(kafka, topic)
    return [decode(r.value)[1]["event_code"] for r in records if r.key == number.encode()]


async def wait_for(worker: WorkerProcess, name: str, value: float, **labels: str) -> None:
    await asyncio.to_thread(
        worker.wait_for, f"{name} is {value}", lambda: worker.metric(name, **labels) == value
    )


async def wait_codes(kafka, topic, number, wanted) -> None:
    async def there() -> bool:
        return await codes(kafka, topic, number) == wanted

    await eventually(there, f"{wanted} of {number} are there")


async def held_now(kafka: KafkaSettings, names: TopicNames) -> set[bytes]:
    """Keys in the holds topic whose last record is no null."""
    last = {}
    for record in await placed(kafka, names.holds):
        last[record.partition, record.key] = record.value
    return {key for (_, key), value in last.items() if value is not None}


async def test_a_label_before_the_scan(
    tmp_path: Path,
    kafka_settings: KafkaSettings,
    layout_settings: LayoutSettings,
    names: TopicNames,
) -> None:
    """Owner by the label, named in a header; a number used again goes to each piece's own owner."""
    kafka, layout = kafka_settings, layout_settings
    mine, again = online(1), online(2)
    await register(kafka, layout, {mine: label(ACME, "a"), again: label(ACME, "b")})
    later = label(GLOBEX, "c", start_ms=T0 + 90 * DAY_MS)
    await register(kafka, layout, {again: later})
    with running_worker(tmp_path, kafka, layout, data_dir=tmp_path / "data") as worker:
        await asyncio.to_thread(worker.wait_ready, 2)
        scans = [scan(mine), scan(again), scan(again, "01", at_ms=T0 + 91 * DAY_MS)]
        await offer(kafka, names.raw, [*scans, scan(again, "02", at_ms=T0 + 60 * DAY_MS)])
        await wait_for(worker, ROUTED, 4)
        await wait_codes(kafka, names.tenant("acme"), mine, ["10"])
        await wait_codes(kafka, names.tenant("acme"), again, ["10"])
        await wait_codes(kafka, names.tenant("globex"), again, ["01"])
        headers = dict((await placed(kafka, names.tenant("globex")))[0].headers)
        assert headers["mg-label"] == b"1:c"
        assert len(await held_now(kafka, names)) == 1, "between two windows: of neither piece yet"


async def test_a_label_after_the_scan_releases_in_order_once(
    tmp_path: Path,
    kafka_settings: KafkaSettings,
    layout_settings: LayoutSettings,
    names: TopicNames,
) -> None:
    kafka, layout = kafka_settings, layout_settings
    numbers = [online(n) for n in range(10)]
    with running_worker(tmp_path, kafka, layout) as worker:
        await asyncio.to_thread(worker.wait_ready, 2)
        await offer(kafka, names.raw, [scan(n, code) for code in ("01", "02") for n in numbers])
        await wait_for(worker, HELD, 20)
        assert await placed(kafka, names.tenant("acme")) == []
        assert worker.metric("midgate_held_events") == 20
        offering = asyncio.create_task(offer(kafka, names.raw, [scan(n, "03") for n in numbers]))
        await register(kafka, layout, {n: label(ACME) for n in numbers[:5]})
        await offering
        await offer(kafka, names.raw, [scan(n, "04") for n in numbers])
        for number in numbers[:5]:
            await wait_codes(kafka, names.tenant("acme"), number, ["01", "02", "03", "04"])
        await wait_for(worker, ROUTED, 40)
        assert {key.partition(b"/")[0].decode() for key in await held_now(kafka, names)} == set(
            numbers[5:]
        )
        assert await asyncio.to_thread(worker.terminate) == 0


async def test_held_events_outlive_a_kill_and_are_compared_at_the_start(
    tmp_path: Path,
    kafka_settings: KafkaSettings,
    layout_settings: LayoutSettings,
    names: TopicNames,
) -> None:
    """Killed with events held; the label comes while nobody is there."""
    kafka, layout = kafka_settings, layout_settings
    numbers = [online(n) for n in range(10)]
    folder = tmp_path / "data"
    with running_worker(tmp_path / "one", kafka, layout, data_dir=folder) as worker:
        await asyncio.to_thread(worker.wait_ready, 2)
        await offer(kafka, names.raw, [scan(n, code) for code in ("01", "02") for n in numbers])
        await wait_for(worker, HELD, 20)
        await asyncio.to_thread(worker.kill)
    await register(kafka, layout, {n: label(ACME) for n in numbers})
    await offer(kafka, names.raw, [scan(n, "03") for n in numbers])
    with running_worker(tmp_path / "two", kafka, layout, data_dir=folder) as worker:
        for number in numbers:
            await wait_codes(kafka, names.tenant("acme"), number, ["01", "02", "03"])
        assert await held_now(kafka, names) == set()
        assert await asyncio.to_thread(worker.terminate) == 0
    with running_worker(tmp_path / "three", kafka, layout) as worker:
        await asyncio.to_thread(worker.wait_ready, 2)
        await offer(kafka, names.raw, [scan(numbers[0], "04")])
        await wait_codes(kafka, names.tenant("acme"), numbers[0], ["01", "02", "03", "04"])


async def test_a_second_worker_takes_held_events_over(
    tmp_path: Path,
    kafka_settings: KafkaSettings,
    layout_settings: LayoutSettings,
    names: TopicNames,
) -> None:
    """Both on one machine, with one folder of labels; the first ends while events are held."""
    kafka, layout = kafka_settings, layout_settings
    numbers = [online(n) for n in range(10)]
    folder = tmp_path / "data"
    with running_worker(tmp_path / "one", kafka, layout, data_dir=folder) as first:
        await asyncio.to_thread(first.wait_ready, 2)
        await offer(kafka, names.raw, [scan(n, "01") for n in numbers])
        await wait_for(first, HELD, 10)
        with running_worker(tmp_path / "two", kafka, layout, data_dir=folder) as second:
            await asyncio.to_thread(second.wait_ready, 1)
            assert await asyncio.to_thread(first.terminate) == 0
            await asyncio.to_thread(second.wait_ready, 2)
            await wait_for(second, "midgate_held_events", 10)
            await register(kafka, layout, {n: label(ACME) for n in numbers})
            for number in numbers:
                await wait_codes(kafka, names.tenant("acme"), number, ["01"])


async def test_at_the_deadline_and_with_two_labels_nobody_gets_it(
    tmp_path: Path,
    kafka_settings: KafkaSettings,
    layout_settings: LayoutSettings,
    names: TopicNames,
) -> None:
    kafka, layout = kafka_settings, layout_settings
    late, two = online(1), online(2)
    # Before the start, which reads all labels: a scan between the two would be the first one's.
    await register(kafka, layout, {two: label(ACME, "a")})
    await register(kafka, layout, {two: label(GLOBEX, "b")})
    with running_worker(tmp_path, kafka, layout, hold_s=5) as worker:
        await asyncio.to_thread(worker.wait_ready, 2)
        await offer(kafka, names.raw, [scan(late), scan(two)])
        withheld = "midgate_events_withheld_total"
        await wait_for(worker, withheld, 1, reason="label_ambiguous")
        await wait_for(worker, withheld, 1, reason="label_needed")
        assert worker.metric("midgate_holds_ended_total", how="given_up") == 1
        assert await held_now(kafka, names) == set()
        await register(kafka, layout, {late: label(ACME)})
        await offer(kafka, names.raw, [scan(late, "20")])
        await wait_codes(kafka, names.tenant("acme"), late, ["20"])
        assert await placed(kafka, names.tenant("globex")) == []


async def test_without_waiting_or_room_it_is_withheld_at_once(
    tmp_path: Path,
    kafka_settings: KafkaSettings,
    layout_settings: LayoutSettings,
    names: TopicNames,
) -> None:
    """The ledger says which events did not wait."""
    kafka, layout = kafka_settings, layout_settings
    with running_worker(tmp_path, kafka, layout, hold_s=0) as worker:
        await asyncio.to_thread(worker.wait_ready, 2)
        await offer(kafka, names.raw, [scan(online(n)) for n in range(10)])
        await wait_for(worker, "midgate_events_withheld_total", 10, reason="label_needed")
        entries = [decode(r.value)[1] for r in await placed(kafka, names.ledger)]
        assert sum(len(entry.get("not_held", ())) for entry in entries) == 10
        assert await held_now(kafka, names) == set()
