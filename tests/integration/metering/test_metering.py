"""Facts become units on a real broker, each first event one, whoever meters, dies or comes back."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete
from structlog.testing import capture_logs

from schemas.reasons import Billing, UnitBilling
from streams import clients
from streams.errors import WrongLogError
from streams.metering_agent import Metering
from streams.metrics import Metrics
from streams.partition_meter import FactRecord, PartitionMeter, metering
from streams.settings import (
    KafkaSettings,
    LayoutSettings,
    RouterSettings,
    Settings,
    StoreSettings,
)
from streams.topics import TopicNames
from streams.transactions import TransactionFailedError
from streams.usage_store import UsageStores
from tests.metering_support import APRIL_MS, made, number, route, values, write_facts
from tests.router_support import placed
from tests.transaction_support import delete_topics, eventually, make_topics
from tests.worker_process import WorkerProcess, running_worker

pytestmark = [pytest.mark.broker, pytest.mark.timeout(180)]

QUICK = {"session_timeout_ms": 6000, "transaction_timeout_ms": 5000}


@pytest.fixture
def worker_settings(
    kafka_settings: KafkaSettings, layout_settings: LayoutSettings, tmp_path: Path
) -> Settings:
    return Settings(
        kafka=kafka_settings,
        layout=layout_settings,
        stores=StoreSettings(data_dir=tmp_path / "stores"),
        router=RouterSettings(transaction_timeout_ms=5000),
    )


def one_meter(settings: Settings, partition: int = 0, folder: Path | None = None):
    stores = UsageStores(folder or settings.stores.data_dir)
    return metering(settings, Metrics("test"), stores, partition)


async def write(settings: Settings, partition: int, facts: list[bytes]) -> None:
    await write_facts(settings.kafka, settings.layout.topics.metering, partition, facts)


async def test_a_restart_goes_on_where_it_stood(
    worker_settings: Settings, midgate_topics: TopicNames
) -> None:
    kafka = worker_settings.kafka
    await write(worker_settings, 0, values(0, APRIL_MS, [(1, 1), (2, 2), (3, 1)]))
    async with one_meter(worker_settings) as meter:
        await meter.catch_up()
    await write(worker_settings, 0, values(0, APRIL_MS + 1, [(4, 2), (5, 3)]))
    async with one_meter(worker_settings) as meter:
        await meter.catch_up()
    found = await made(kafka, midgate_topics.usage)
    assert {u.tracking_number for u in found.units.values()} == {number(n) for n in (1, 2, 3)}
    assert found.written == 3, "no unit was written twice"
    assert found.tallied(UnitBilling.NOT_FIRST_EVENT) == 2


@pytest.mark.parametrize("lost", ["store", "nothing"])
async def test_facts_brought_again_change_nothing(
    worker_settings: Settings, midgate_topics: TopicNames, tmp_path: Path, lost: str
) -> None:
    topic = midgate_topics.metering
    owner = route("", "shipper", Billing.NO_COST_PARTY)
    await write(worker_settings, 0, values(0, APRIL_MS, [(1, 1), (2, 1)], route(), owner))
    async with one_meter(worker_settings) as meter:
        await meter.catch_up()
    again = [FactRecord(r.offset, r.value) for r in await placed(worker_settings.kafka, topic)]
    folder = tmp_path / "other" if lost == "store" else None
    async with one_meter(worker_settings, folder=folder) as meter:
        await meter.take(again)
        await meter.catch_up()
        await meter.take(again)
    found = await made(worker_settings.kafka, midgate_topics.usage)
    assert found.written == 1
    assert found.tallied(UnitBilling.NOT_FIRST_EVENT) == 1
    assert found.tallied(UnitBilling.NO_COST_PARTY, "") == 2


async def test_a_predecessor_can_write_nothing_any_more(
    worker_settings: Settings, midgate_topics: TopicNames, tmp_path: Path
) -> None:
    """Two workers after a rebalance: the frozen one wakes with facts in hand."""
    kafka = worker_settings.kafka
    async with AsyncExitStack() as stack:
        old: PartitionMeter = await stack.enter_async_context(one_meter(worker_settings))
        await old.catch_up()
        await write(worker_settings, 0, values(0, APRIL_MS, [(1, 1), (2, 1)]))
        in_hand = [
            FactRecord(r.offset, r.value) for r in await placed(kafka, midgate_topics.metering)
        ]
        new = await stack.enter_async_context(one_meter(worker_settings, folder=tmp_path / "b"))
        await new.catch_up()
        with pytest.raises(TransactionFailedError):
            await old.take(in_hand)
        await write(worker_settings, 0, values(0, APRIL_MS + 1, [(3, 2)]))
        await new.catch_up()
    found = await made(kafka, midgate_topics.usage)
    assert found.written == len(found.units) == 2
    assert found.tallied(UnitBilling.NOT_FIRST_EVENT) == 1


async def test_what_was_committed_and_not_taken_into_the_store_is_read_again(
    worker_settings: Settings, midgate_topics: TopicNames, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the commit and the store's write."""
    await write(worker_settings, 0, values(0, APRIL_MS, [(1, 1), (2, 1)]))

    class KilledError(Exception):
        pass

    def killed(*_: object) -> None:
        raise KilledError

    with monkeypatch.context() as patched:
        patched.setattr("streams.usage_view.UsageView.wrote", killed)
        with pytest.raises(KilledError):
            async with one_meter(worker_settings) as meter:
                await meter.catch_up()
    async with one_meter(worker_settings) as meter:
        await meter.catch_up()
    found = await made(worker_settings.kafka, midgate_topics.usage)
    assert found.written == len(found.units) == 1
    assert found.tallied(UnitBilling.NOT_FIRST_EVENT) == 1


async def test_what_faust_brought_to_nobody_is_read_from_the_topic(
    worker_settings: Settings, midgate_topics: TopicNames, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Facts that Faust never brings, and more at once than can wait."""
    monkeypatch.setattr("streams.metering_agent.WAITING_FACTS_MAX", 2)
    kafka = worker_settings.kafka
    await write(worker_settings, 0, values(0, APRIL_MS, [(1, 1)]))
    meters = Metering(worker_settings, Metrics("test"))
    await meters.assigned([0])
    try:
        await eventually(lambda: every_unit(worker_settings, 1), "the first fact is metered")
        for step in range(2, 6):
            await write(worker_settings, 0, values(0, APRIL_MS + step, [(step, step)]))
        for record in await placed(kafka, midgate_topics.metering):
            meters.put(0, FactRecord(record.offset, record.value))
        await eventually(lambda: every_unit(worker_settings, 5), "all facts are metered")
    finally:
        await meters.on_stop()
    assert (await made(kafka, midgate_topics.usage)).written == 5


async def test_facts_that_are_gone_stop_metering(
    worker_settings: Settings, midgate_topics: TopicNames
) -> None:
    """A position beyond the end of the same topic: something was restored."""
    await write(worker_settings, 0, values(0, APRIL_MS, [(1, 1)]))
    async with one_meter(worker_settings) as meter:
        await meter.catch_up()
        meter._next_fact = 50
        await meter.take([FactRecord(70, values(0, APRIL_MS, [(9, 2)])[0])])
    with pytest.raises(WrongLogError, match="ends at 1, but was metered up to 71"):
        async with one_meter(worker_settings):
            pass


async def test_facts_that_expired_unmetered_are_told_and_passed_over(
    worker_settings: Settings, midgate_topics: TopicNames
) -> None:
    topic = midgate_topics.metering
    await write(worker_settings, 0, values(0, APRIL_MS, [(1, 1)]))
    async with one_meter(worker_settings) as meter:
        await meter.catch_up()
    for step in (2, 3, 4):
        await write(worker_settings, 0, values(0, APRIL_MS + step, [(step, step)]))
    admin = clients.admin(worker_settings.kafka)
    await admin.start()
    await admin.delete_records({TopicPartition(topic, 0): RecordsToDelete(before_offset=3)})
    await admin.close()
    with capture_logs() as logged:
        async with one_meter(worker_settings) as meter:
            await meter.catch_up()
    found = await made(worker_settings.kafka, midgate_topics.usage)
    assert {u.tracking_number for u in found.units.values()} == {number(1), number(4)}
    [told] = [line for line in logged if line["event"] == "facts_expired"]
    assert (told["first"], told["next"]) == (1, 3)


async def test_facts_of_a_topic_made_anew_are_all_metered(
    worker_settings: Settings, midgate_topics: TopicNames
) -> None:
    topic = midgate_topics.metering
    await write(worker_settings, 0, values(0, APRIL_MS, [(1, 1), (2, 1)]))
    async with one_meter(worker_settings) as meter:
        await meter.catch_up()
    await delete_topics(worker_settings.kafka, topic)
    await make_topics(worker_settings.kafka, topic, partitions=4)
    await write(worker_settings, 0, values(0, APRIL_MS + 1, [(1, 1), (2, 2)]))
    async with one_meter(worker_settings) as meter:
        await meter.catch_up()
    found = await made(worker_settings.kafka, midgate_topics.usage)
    assert {u.tracking_number for u in found.units.values()} == {number(1), number(2)}
    assert found.tallied(UnitBilling.NOT_FIRST_EVENT) == 2


async def every_unit(settings: Settings, count: int) -> bool:
    return len((await made(settings.kafka, settings.layout.topics.usage)).units) == count


async def test_workers_killed_and_joined_meter_each_first_event_once(
    tmp_path: Path, worker_settings: Settings, midgate_topics: TopicNames
) -> None:
    settings = worker_settings
    kafka, layout = settings.kafka, settings.layout
    transactions, events, numbers = 40, 50, 0

    async def offer(first: int) -> None:
        for partition in range(layout.partitions):
            facts = []
            for step in range(first, first + transactions):
                # Half of the events are of numbers of the transaction before.
                serials = range((step * events) // 2, (step * events) // 2 + events)
                places = [
                    (step * events + n, serial * layout.partitions + partition)
                    for n, serial in enumerate(serials)
                ]
                facts += values(partition, APRIL_MS + step, places)
            await write(settings, partition, facts)

    def units_until(step: int) -> int:
        return ((step - 1) * events // 2 + events) * layout.partitions

    def worker(name: str) -> WorkerProcess:
        # Stores survive the kill where the folder is the same.
        return running_worker(tmp_path / name, kafka, layout, data_dir=tmp_path / "d", **QUICK)

    await offer(0)
    with worker("first") as first:

        async def begun() -> bool:
            return bool((await made(kafka, midgate_topics.usage)).units)

        await eventually(begun, "the first units are there")
        first.kill()
    await offer(transactions)
    with worker("second") as second, worker("third") as third:
        await asyncio.to_thread(second.wait_ready)
        await asyncio.to_thread(third.wait_ready)
        await offer(2 * transactions)
        second.kill()
        await offer(3 * transactions)
        numbers = units_until(4 * transactions)
        await eventually(lambda: every_unit(settings, numbers), "every first event is a unit")
        await asyncio.to_thread(third.terminate)
    found = await made(kafka, midgate_topics.usage)
    assert found.written == len(found.units) == numbers
    copies = 4 * transactions * events * layout.partitions
    assert found.tallied(UnitBilling.NOT_FIRST_EVENT) == copies - numbers
