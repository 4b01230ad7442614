"""Labels are added to histories by one writer at a time, and read into local stores."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from aiokafka import TopicPartition

from connectors.labels.registry import LabelRegistry, Registered, partition_of
from streams import clients
from streams.errors import ConfigurationError, WrongLogError
from streams.label_feed import LabelFeed
from streams.label_history import Label, LabelConflictError, decode_history, encode_history
from streams.label_store import LabelStores
from streams.packed_labels import unpack
from streams.record_batches import send_records
from streams.settings import KafkaSettings, StoreSettings
from streams.topics import TopicNames
from streams.topics_admin import apply_topics
from streams.topics_client import TopicsAdmin
from streams.transactions import TransactionFailedError

pytestmark = pytest.mark.broker

PICS = [f"94001112{number:014d}" for number in range(40)]


def a_label(label_id: str, **changed) -> Label:
    return Label(label_id, "901234567", "acme", "", 5, 10, 20, None, "")._replace(**changed)


@pytest.fixture
def registry(kafka_settings, layout_settings, midgate_topics, tmp_path) -> LabelRegistry:
    return LabelRegistry(kafka_settings, layout_settings, StoreSettings(data_dir=tmp_path))


@pytest_asyncio.fixture
async def feed(
    kafka_settings: KafkaSettings, midgate_topics: TopicNames, tmp_path: Path
) -> AsyncIterator[LabelFeed]:
    feed = a_feed(kafka_settings, midgate_topics, tmp_path)
    await feed.open()
    yield feed
    await feed.close()


def a_feed(kafka: KafkaSettings, names: TopicNames, folder: Path) -> LabelFeed:
    return LabelFeed(kafka, names.labels, range(4), LabelStores(folder / "lane"), purpose="lane")


def known(feed: LabelFeed, pic: str) -> list[str]:
    (packed,) = feed.find(partition_of(pic.encode(), 4), [pic.encode()])
    return [one.label_id for one in unpack(pic, packed or b"")]


async def test_labels_are_added_once_and_read_by_everybody(registry, feed):
    async with registry:
        added = {pic: [a_label("a")] for pic in PICS}
        assert await registry.register(added) == Registered(40, 0)
        assert await registry.register(added) == Registered(0, 40)
        assert await registry.register({PICS[0]: [a_label("a"), a_label("b")]}) == Registered(1, 1)
        with pytest.raises(LabelConflictError, match="mid"):
            await registry.register(
                {PICS[1]: [a_label("z")], PICS[2]: [a_label("a", mid="123456")]}
            )
        found = registry.histories(PICS[:3])
        assert [[one.label_id for one in found[pic]] for pic in PICS[:3]] == [
            ["a", "b"],
            ["a"],
            ["a"],
        ]
    await feed.catch_up({})
    assert [known(feed, pic) for pic in PICS[:2]] == [["a", "b"], ["a"]]
    assert all(known(feed, pic) for pic in PICS)


async def test_a_label_stands_where_its_events_stand(registry, kafka_settings, midgate_topics):
    """Labels and raw are partitioned alike: a lane must find its events' labels."""
    async with registry:
        await registry.register({pic: [a_label("a")] for pic in PICS})
    producer = clients.idempotent_producer(kafka_settings)
    await clients.start(producer, kafka_settings)
    try:
        for pic in PICS:
            sent = await producer.send_and_wait(midgate_topics.raw, key=pic.encode(), value=b"x")
            assert sent.partition == partition_of(pic.encode(), 4)
    finally:
        await producer.stop()


async def test_a_second_writer_fences_the_first_and_knows_all_it_wrote(
    kafka_settings, layout_settings, midgate_topics, tmp_path
):
    """The lost update: without the fence the first would write its own idea of the history."""

    def writer(name: str) -> LabelRegistry:
        settings = StoreSettings(data_dir=tmp_path / name)
        return LabelRegistry(kafka_settings, layout_settings, settings)

    async with writer("one") as first:
        await first.register({PICS[0]: [a_label("a")]})
        async with writer("two") as second:
            assert [one.label_id for one in second.histories(PICS[:1])[PICS[0]]] == ["a"]
            await second.register({PICS[0]: [a_label("b")]})
            with pytest.raises(TransactionFailedError):
                await first.register({PICS[0]: [a_label("c")]})
            await second.register({PICS[0]: [a_label("d")]})
    async with writer("one") as again:
        found = again.histories(PICS[:1])[PICS[0]]
    assert [one.label_id for one in found] == ["a", "b", "d"]


async def test_what_a_dead_writer_left_open_does_not_count(
    registry, kafka_settings, layout_settings, midgate_topics
):
    async with registry:
        await registry.register({PICS[0]: [a_label("a")]})
        producer = registry._producer
        await producer.begin()
        value = encode_history(PICS[0], [a_label("lost")])
        place = partition_of(PICS[0].encode(), 4)
        lost = [(PICS[0].encode(), value, 1, [])]
        await send_records(producer, midgate_topics.labels, place, lost)
        await asyncio.gather(*producer._futures)
        async with LabelRegistry(kafka_settings, layout_settings, StoreSettings()) as second:
            assert [one.label_id for one in second.histories(PICS[:1])[PICS[0]]] == ["a"]


async def test_a_store_goes_on_where_it_was(registry, kafka_settings, midgate_topics, tmp_path):
    async with registry:
        await registry.register({PICS[0]: [a_label("a")]})
        first = a_feed(kafka_settings, midgate_topics, tmp_path)
        await first.open()
        await first.catch_up({})
        positions = first.positions
        await first.close()
        await registry.register({PICS[0]: [a_label("b")]})
    again = a_feed(kafka_settings, midgate_topics, tmp_path)
    await again.open()
    try:
        assert again.positions == positions
        assert known(again, PICS[0]) == ["a"]
        await again.catch_up(positions)
        assert known(again, PICS[0]) == ["a", "b"]
    finally:
        await again.close()


async def test_a_topic_made_anew_empties_the_store_and_stops_who_decided_with_the_old_one(
    registry, kafka_settings, layout_settings, midgate_topics, tmp_path
):
    async with registry:
        await registry.register({pic: [a_label("a")] for pic in PICS})
    old = a_feed(kafka_settings, midgate_topics, tmp_path)
    await old.open()
    await old.catch_up({})
    decided_on = old.positions
    await old.close()
    admin = TopicsAdmin(kafka_settings)
    for future in admin._client.delete_topics([midgate_topics.labels]).values():
        future.result()
    await apply_topics(kafka_settings, layout_settings)
    new = a_feed(kafka_settings, midgate_topics, tmp_path)
    await new.open()
    try:
        assert known(new, PICS[0]) == []
        with pytest.raises(WrongLogError, match="labels are gone"):
            await new.catch_up(decided_on)
    finally:
        await new.close()


async def test_a_store_ahead_of_the_topic_is_rebuilt(
    registry, kafka_settings, midgate_topics, tmp_path
):
    """As after a topic that lost its end: what the store holds beyond never was, or is gone."""
    async with registry:
        await registry.register({pic: [a_label("a")] for pic in PICS})
    old = a_feed(kafka_settings, midgate_topics, tmp_path)
    await old.open()
    await old.catch_up({})
    partition = partition_of(PICS[0].encode(), 4)
    ahead = encode_history(PICS[0], [a_label("never")])
    old._open[partition].apply([(PICS[0].encode(), ahead)], old.positions[partition] + 1)
    assert known(old, PICS[0]) == ["never"]
    await old.close()
    new = a_feed(kafka_settings, midgate_topics, tmp_path)
    await new.open()
    try:
        assert known(new, PICS[0]) == []
        await new.catch_up({})
        assert known(new, PICS[0]) == ["a"]
    finally:
        await new.close()


async def test_an_installation_without_the_topic_is_told_what_to_do(
    registry, kafka_settings, layout_settings, midgate_topics, tmp_path
):
    """As one made before there were labels; `topics apply` brings what is missing."""
    admin = TopicsAdmin(kafka_settings)
    gone = [midgate_topics.labels, midgate_topics.holds]
    for future in admin._client.delete_topics(gone).values():
        future.result()
    with pytest.raises(ConfigurationError, match="does not exist"):
        await a_feed(kafka_settings, midgate_topics, tmp_path).open()
    with pytest.raises(ConfigurationError, match="does not exist"):
        await registry.__aenter__()
    changes = await apply_topics(kafka_settings, layout_settings)
    assert [change.name for change in changes if change.action == "create"] == gone
    async with registry:
        await registry.register({PICS[0]: [a_label("a")]})


async def test_every_record_of_the_topic_is_a_history_or_a_mark(
    registry, kafka_settings, midgate_topics
):
    async with registry:
        await registry.register({pic: [a_label("a")] for pic in PICS})
    consumer = clients.consumer(kafka_settings)
    await clients.start(consumer, kafka_settings)
    try:
        places = [TopicPartition(midgate_topics.labels, number) for number in range(4)]
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        ends = await consumer.end_offsets(places)
        seen = set()
        while any([await consumer.position(place) < ends[place] for place in places]):
            for records in (await consumer.getmany(timeout_ms=200)).values():
                for record in records:
                    if record.value is not None:
                        seen.add(record.key.decode())
                        decode_history(record.key.decode(), record.value)
        assert seen == set(PICS)
    finally:
        await consumer.stop()
