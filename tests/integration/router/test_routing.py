"""A worker as operators run it, on a real broker: exactly what is due, to exactly whom."""

import asyncio
from pathlib import Path

import pytest

from schemas.codec import decode
from streams.settings import KafkaSettings, LayoutSettings
from streams.topics import TopicNames
from tests.rights_support import rights_office
from tests.router_support import barcode, event, offer, placed
from tests.transaction_support import eventually
from tests.worker_process import FAUST, MIDGATE, running_worker

pytestmark = [pytest.mark.broker, pytest.mark.timeout(90)]

ACME, GLOBEX, NOBODY = "901234567", "907654321", "900000001"


@pytest.mark.parametrize("command", [FAUST, MIDGATE], ids=["faust", "midgate"])
async def test_two_tenants_get_exactly_what_is_theirs(
    command: tuple[str, ...],
    tmp_path: Path,
    kafka_settings: KafkaSettings,
    layout_settings: LayoutSettings,
    midgate_topics: TopicNames,
) -> None:
    """Shared, single, nobody's, undecidable and unreadable events, by either way to run it."""
    names = midgate_topics
    async with rights_office(kafka_settings, layout_settings) as office:
        await office.add_tenant("acme")
        await office.add_tenant("globex", partitions=2)
        await office.grant("acme", ACME, "g1")
        await office.grant("acme", GLOBEX, "g2")
        await office.grant("globex", GLOBEX, "g3")
    acme = [event(barcode(ACME, n), recipient="J. DOE") for n in range(40)]
    both = [event(barcode(GLOBEX, n)) for n in range(40)]
    nobody = [event(barcode(NOBODY, n)) for n in range(10)]
    wrong_digit = event("9205590123456700000018")
    strange = (b"k", b"\0\0\0\xff\xff whatever")
    await offer(kafka_settings, names.raw, [*acme, *both, *nobody, wrong_digit, strange])

    with running_worker(tmp_path, kafka_settings, layout_settings, command=command) as worker:
        await asyncio.to_thread(worker.wait_ready, 2)
        routed = "midgate_events_routed_total"
        await asyncio.to_thread(
            worker.wait_for, "all is routed", lambda: worker.metric(routed) == 92
        )
        to_acme = await placed(kafka_settings, names.tenant("acme"))
        to_globex = await placed(kafka_settings, names.tenant("globex"))
        assert sorted(r.key for r in to_acme) == sorted(key for key, _ in acme + both)
        assert sorted(r.key for r in to_globex) == sorted(key for key, _ in both)
        by_key = {r.key: r for r in to_acme}
        for key, value in both:
            assert by_key[key].value == value
        for record in to_acme:
            assert decode(record.value)[1]["restricted"] is None, "personal data is cut"
        headers = dict(to_globex[0].headers)
        assert headers["mg-grant"] == b"g3"
        assert headers["ce_specversion"] == b"1.0"

        quarantined = await placed(kafka_settings, names.quarantine)
        reasons = {r.key: dict(r.headers)["mg-reason"] for r in quarantined}
        assert reasons == {wrong_digit[0]: b"check_digit", strange[0]: b"unknown_frame"}
        assert {r.value for r in quarantined} == {wrong_digit[1], strange[1]}

        assert worker.metric("midgate_deliveries_total") == 120
        assert worker.metric("midgate_events_withheld_total", reason="no_grant") == 10
        assert worker.metric("midgate_events_quarantined_total") == 2
        assert worker.metric("midgate_router_lag_events") == 0
        assert worker.metric("midgate_lane_state", state="running") == 2
        # The agent: a framework's consumer, so it takes its time.
        await asyncio.to_thread(
            worker.wait_for,
            "the quarantine watch has seen both",
            lambda: worker.metric("midgate_quarantine_seen_total") == 2,
        )
        assert worker.get("/live")[0] == 200
        assert await asyncio.to_thread(worker.terminate) == 0


async def test_a_tenant_added_while_it_runs_gets_its_events(
    tmp_path: Path,
    kafka_settings: KafkaSettings,
    layout_settings: LayoutSettings,
    midgate_topics: TopicNames,
) -> None:
    """The worker's clients learn a topic that was not there when they started."""
    names = midgate_topics
    with running_worker(tmp_path, kafka_settings, layout_settings) as worker:
        await asyncio.to_thread(worker.wait_ready, 2)
        async with rights_office(kafka_settings, layout_settings) as office:
            await office.add_tenant("late")
            applied = await office.grant("late", ACME, "g1")
        await asyncio.to_thread(
            worker.wait_for,
            "the grant is known",
            lambda: worker.ready()["authorization"]["version"] > applied.offset,
        )
        due = [event(barcode(ACME, n)) for n in range(20)]
        await offer(kafka_settings, names.raw, due)

        async def arrived() -> bool:
            return len(await placed(kafka_settings, names.tenant("late"))) == 20

        await eventually(arrived, "the new tenant has its events")


async def test_events_of_a_package_keep_their_order(
    tmp_path: Path,
    kafka_settings: KafkaSettings,
    layout_settings: LayoutSettings,
    midgate_topics: TopicNames,
) -> None:
    """Partition = raw partition mod n, and the order within it."""
    names = midgate_topics
    async with rights_office(kafka_settings, layout_settings) as office:
        await office.add_tenant("acme", partitions=2)
        await office.grant("acme", ACME, "g1")
    numbers = [barcode(ACME, n) for n in range(10)]
    scans = [event(number, code=f"{step:02d}") for step in range(30) for number in numbers]
    with running_worker(tmp_path, kafka_settings, layout_settings) as worker:
        await asyncio.to_thread(worker.wait_ready, 2)
        for start in range(0, len(scans), 50):
            await offer(kafka_settings, names.raw, scans[start : start + 50])

        async def arrived() -> bool:
            return len(await placed(kafka_settings, names.tenant("acme"))) == len(scans)

        await eventually(arrived, "all scans are placed")
    records = await placed(kafka_settings, names.tenant("acme"))
    for number in numbers:
        mine = [r for r in records if r.key == number.encode()]
        assert [decode(r.value)[1]["event_code"] for r in mine] == [f"{n:02d}" for n in range(30)]
        assert len({r.partition for r in mine}) == 1
