"""Finding a ledger entry and a copy on a real broker, wherever the clocks say they should be."""

import random
import time

import pytest
from aiokafka import AIOKafkaProducer

from midgate import delivery_search
from midgate.delivery_search import FETCH_MAX, CopySearch, RawPlace
from midgate.ledger_reading import LedgerSearch
from midgate.reading import HERE_AND_THERE, reading
from schemas.codec import encode
from streams import clients
from streams.facts import Tenant
from streams.raw_record import RawRecord
from streams.settings import KafkaSettings, LayoutSettings
from streams.topics_admin import create_tenant_topic

pytestmark = pytest.mark.broker

ENTRIES = 400
# Recent, or retention takes the records while they are read.
NOW_MS = int(time.time() * 1000) - 3_600_000
# Raw offsets of an entry, by its number: gaps stand for what is no record.
WIDTH = 7


async def send(producer: AIOKafkaProducer, topic: str, partition: int, **record: object) -> None:
    await producer.send(topic, partition=partition, **record)


def entry(number: int) -> bytes:
    return encode(
        "ledger_entry",
        {
            "deliverer": "d",
            "registration": "r",
            "partition": 1,
            "raw_from": 100 + number * WIDTH,
            "raw_next": 100 + (number + 1) * WIDTH,
            "log_id": "l",
            "version": 5,
            "decided_at": NOW_MS + number * 1000,
            "build": "test",
        },
    )


@pytest.mark.parametrize("received_ms", [0, NOW_MS, NOW_MS + ENTRIES * 500, NOW_MS * 2])
async def test_an_entry_is_found_whatever_the_clocks_say(
    kafka_settings: KafkaSettings,
    layout_settings: LayoutSettings,
    midgate_topics: object,
    received_ms: int,
) -> None:
    ledger = layout_settings.topics.ledger
    producer = clients.idempotent_producer(kafka_settings)
    await clients.start(producer, kafka_settings)
    for number in range(ENTRIES):
        stamp = NOW_MS + number * 1000
        await send(producer, ledger, 1, value=entry(number), timestamp_ms=stamp)
    await producer.stop()
    end = 100 + ENTRIES * WIDTH
    async with reading(kafka_settings, **HERE_AND_THERE) as consumer:
        search = LedgerSearch(consumer, ledger)

        async def found(offset: int) -> object:
            line, absent = await search.find(RawRecord(1, offset, received_ms, None, None))
            return absent if line is None else line.entry["raw_from"]

        asked = [100, 106, 107, end - 1, *random.Random(1).sample(range(100, end), 8)]
        for offset in asked:
            assert await found(offset) == 100 + (offset - 100) // WIDTH * WIDTH
        assert await found(99) == "gone"
        assert await found(end) == "pending"


@pytest.mark.parametrize("looked_through", [delivery_search.SEARCH_RECORDS_MAX, 10])
async def test_a_copy_is_found_in_order_and_out_of_it(
    kafka_settings: KafkaSettings,
    layout_settings: LayoutSettings,
    midgate_topics: object,
    monkeypatch: pytest.MonkeyPatch,
    looked_through: int,
) -> None:
    """Partition 1 lags far behind 3, one copy came late, and one is not there."""
    monkeypatch.setattr(delivery_search, "SEARCH_RECORDS_MAX", looked_through)
    is_bounded = looked_through == 10
    await create_tenant_topic(kafka_settings, layout_settings, "acme", 2)
    topic = layout_settings.topics.tenant("acme")
    ahead = FETCH_MAX * 4
    copies = [(3, offset, NOW_MS + offset) for offset in range(ahead)]
    late, missing = 17, 23
    copies += [(1, n, NOW_MS + n) for n in range(ahead) if n not in (late, missing)]
    copies.append((1, late, NOW_MS + late))
    producer = clients.idempotent_producer(kafka_settings)
    await clients.start(producer, kafka_settings)
    for partition, offset, stamp in copies:
        headers = [("ce_id", b"%d-%d" % (partition, offset))]
        await send(producer, topic, 1, value=b"v", headers=headers, timestamp_ms=stamp)
    await producer.stop()
    tenant = Tenant("acme", "acme", "SHIPPER", "", topic, 2, False, 1)
    async with reading(kafka_settings, **HERE_AND_THERE) as consumer:
        search = CopySearch(consumer)

        async def found(partition: int, offset: int) -> tuple[str, int | None]:
            said = await search.find(tenant, RawPlace(partition, offset, NOW_MS + offset))
            assert (said["topic"], said["partition"]) == (topic, 1)
            return said["found"], said["offset"]

        for partition, offset in [(1, 0), (1, 500), (1, ahead - 1), (3, 0), (3, 1_234)]:
            where = copies.index((partition, offset, NOW_MS + offset))
            assert await found(partition, offset) == ("yes", where)
        # Beyond the bound only what stands in order can be found.
        unknown = ("not_searched", None)
        assert await found(1, late) == (unknown if is_bounded else ("yes", len(copies) - 1))
        assert await found(1, missing) == (unknown if is_bounded else ("no", None))
        gone = Tenant("none", "none", "SHIPPER", "", f"{topic}x", 1, False, 1)
        said = await search.find(gone, RawPlace(1, 0, NOW_MS))
        assert said["found"] == "no_longer_recorded"


async def test_what_was_aborted_is_no_copy(
    kafka_settings: KafkaSettings, layout_settings: LayoutSettings, midgate_topics: object
) -> None:
    """The bytes of an aborted copy stand in the topic all the same, before those that count."""
    await create_tenant_topic(kafka_settings, layout_settings, "acme", 1)
    topic = layout_settings.topics.tenant("acme")
    headers = [("ce_id", b"1-7")]

    async def placed(transactional_id: str, *, ends_well: bool) -> int:
        producer = AIOKafkaProducer(
            bootstrap_servers=kafka_settings.bootstrap, transactional_id=transactional_id
        )
        await producer.start()
        await producer.begin_transaction()
        sent = await producer.send(topic, b"v", headers=headers, timestamp_ms=NOW_MS)
        offset = (await sent).offset
        await (producer.commit_transaction() if ends_well else producer.abort_transaction())
        await producer.stop()
        return int(offset)

    tenant = Tenant("acme", "acme", "SHIPPER", "", topic, 1, False, 1)
    await placed("a", ends_well=False)
    async with reading(kafka_settings, **HERE_AND_THERE) as consumer:
        said = await CopySearch(consumer).find(tenant, RawPlace(1, 7, NOW_MS))
        assert (said["found"], said["offset"]) == ("no", None)
    offset = await placed("b", ends_well=True)
    async with reading(kafka_settings, **HERE_AND_THERE) as consumer:
        said = await CopySearch(consumer).find(tenant, RawPlace(1, 7, NOW_MS))
        assert (said["found"], said["offset"]) == ("yes", offset)
