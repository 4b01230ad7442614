"""`topics apply` on a real broker: makes all once, changes nothing twice, refuses the rest."""

import asyncio

import pytest
from aiokafka import TopicPartition
from aiokafka.structs import ConsumerRecord

from streams import clients, installation
from streams.errors import BrokerUnreachableError, ConfigurationError, InputError, WrongLogError
from streams.installation import committed_offsets, read_foundation
from streams.settings import KafkaSettings, LayoutSettings
from streams.topics import TENANT_MESSAGE_BYTES_MAX, TopicNames, system_topics
from streams.topics_admin import TopicChange, apply_topics, create_tenant_topic, list_topics
from streams.topics_client import TopicsAdmin
from tests.kafka_support import BrokerFactory
from tests.tcp_proxy import PRODUCE, Fault, TcpProxy, aimed_at

pytestmark = pytest.mark.broker


def actions(changes: list[TopicChange]) -> set[str]:
    return {change.action for change in changes}


async def offsets(kafka: KafkaSettings, layout: LayoutSettings) -> dict[int, int]:
    partitions = [TopicPartition(layout.topics.raw, partition) for partition in range(4)]
    found = await committed_offsets(kafka, layout.router_group, partitions)
    return {partition.partition: committed.offset for partition, committed in found.items()}


async def log_records(kafka: KafkaSettings, topic: str) -> list[ConsumerRecord]:
    consumer = clients.consumer(kafka)
    await clients.start(consumer, kafka)
    try:
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        consumer.seek(partition, 0)
        end = (await consumer.end_offsets([partition]))[partition]
        records: list[ConsumerRecord] = []
        while await consumer.position(partition) < end:
            for batch in (await consumer.getmany(timeout_ms=500)).values():
                records += batch
        return records
    finally:
        await consumer.stop()


async def test_applied_twice_changes_nothing(
    kafka_settings: KafkaSettings, layout_settings: LayoutSettings
) -> None:
    """The first run makes all, the second finds all; log and offsets stay as they were."""
    names = layout_settings.topics
    planned = await apply_topics(kafka_settings, layout_settings, dry_run=True)
    assert await list_topics(kafka_settings, layout_settings) == []
    first = await apply_topics(kafka_settings, layout_settings)
    assert actions(first) == {"create", "append", "commit"}
    assert [(c.name, c.action) for c in planned] == [(c.name, c.action) for c in first]

    states = {state.name: state for state in await list_topics(kafka_settings, layout_settings)}
    for spec in system_topics(names, 4):
        assert states[spec.name].partitions == spec.partitions
        assert spec.config.items() <= states[spec.name].config.items()
    found = await read_foundation(kafka_settings, names.authorization)
    layout = found.layout
    assert layout is not None
    assert (layout.app_id, layout.partitions, layout.lanes) == (layout_settings.app_id, 4, 2)
    assert len(await log_records(kafka_settings, names.authorization)) == 2
    assert await offsets(kafka_settings, layout_settings) == {0: 0, 1: 0, 2: 0, 3: 0}

    again = await apply_topics(kafka_settings, layout_settings)
    assert actions(again) == {"none"}
    assert actions(await apply_topics(kafka_settings, layout_settings, dry_run=True)) == {"none"}
    assert (await read_foundation(kafka_settings, names.authorization)).log_id == found.log_id
    assert len(await log_records(kafka_settings, names.authorization)) == 2


async def test_on_a_cluster_a_second_old(
    broker_factory: BrokerFactory, layout_settings: LayoutSettings
) -> None:
    """The coordinator of a new cluster is still loading: `topics apply` waits for it."""
    broker = broker_factory({"offsets.topic.num.partitions": "50"})
    kafka = KafkaSettings(bootstrap=broker.bootstrap)
    assert actions(await apply_topics(kafka, layout_settings)) == {"create", "append", "commit"}
    assert await offsets(kafka, layout_settings) == {0: 0, 1: 0, 2: 0, 3: 0}


async def test_three_at_once_agree(
    kafka_settings: KafkaSettings, layout_settings: LayoutSettings
) -> None:
    """Runs at the same time all succeed, with one log id; a later one has nothing to do."""
    await asyncio.gather(*(apply_topics(kafka_settings, layout_settings) for _ in range(3)))
    assert actions(await apply_topics(kafka_settings, layout_settings)) == {"none"}


async def test_only_missing_offsets_are_committed(
    kafka_settings: KafkaSettings, layout_settings: LayoutSettings, midgate_topics: TopicNames
) -> None:
    """A lane's own offset is never put back to the start."""
    group, raw = layout_settings.router_group, midgate_topics.raw
    producer = clients.idempotent_producer(kafka_settings)
    await clients.start(producer, kafka_settings)
    await producer.send_and_wait(raw, b"x", partition=1)
    await producer.stop()
    consumer = clients.consumer(kafka_settings, group_id=group)
    await clients.start(consumer, kafka_settings)
    consumer.assign([TopicPartition(raw, 1)])
    await consumer.commit({TopicPartition(raw, 1): 1})
    await consumer.stop()
    await apply_topics(kafka_settings, layout_settings)
    assert await offsets(kafka_settings, layout_settings) == {0: 0, 1: 1, 2: 0, 3: 0}


async def test_a_lost_offset_is_not_put_back_to_the_start(
    kafka_settings: KafkaSettings, layout_settings: LayoutSettings
) -> None:
    """No offset, but a ledger with entries: everything would be delivered a second time."""
    admin = TopicsAdmin(kafka_settings)
    admin.create(system_topics(layout_settings.topics, 4), 1)
    producer = clients.idempotent_producer(kafka_settings)
    await clients.start(producer, kafka_settings)
    await producer.send_and_wait(layout_settings.topics.ledger, b"entry", partition=2)
    await producer.stop()
    with pytest.raises(WrongLogError, match="lost its offset") as caught:
        await apply_topics(kafka_settings, layout_settings)
    assert "raw_next" in caught.value.hint
    assert await offsets(kafka_settings, layout_settings) == {}


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        ({"partitions": 8}, "MIDGATE_PARTITIONS=4"),
        ({"lanes": 4}, "MIDGATE_LANES=2"),
        ({"app_id": "another"}, "MIDGATE_APP_ID="),
    ],
)
async def test_another_layout_is_refused(
    kafka_settings: KafkaSettings,
    layout_settings: LayoutSettings,
    midgate_topics: TopicNames,
    change: dict[str, object],
    hint: str,
) -> None:
    """P, lanes and app id are fixed: the error names the value in force, and nothing is made."""
    other = layout_settings.model_copy(update=change)
    with pytest.raises(ConfigurationError) as caught:
        await apply_topics(kafka_settings, other)
    assert hint in caught.value.hint
    with pytest.raises(ConfigurationError):
        await apply_topics(kafka_settings, other, dry_run=True)


async def test_drifted_settings_are_set_back(
    kafka_settings: KafkaSettings, layout_settings: LayoutSettings, midgate_topics: TopicNames
) -> None:
    """A setting changed by hand is shown by the dry run and mended by the next run."""
    admin = TopicsAdmin(kafka_settings)
    log = midgate_topics.authorization
    admin.configure(log, {"cleanup.policy": "delete", "segment.bytes": "104857600"})
    shown = await apply_topics(kafka_settings, layout_settings, dry_run=True)
    assert [(c.name, c.detail) for c in shown if c.action == "configure"] == [
        (log, "cleanup.policy: delete -> compact")
    ]
    assert admin.states([log])[log].config["cleanup.policy"] == "delete"
    await apply_topics(kafka_settings, layout_settings)
    assert admin.states([log])[log].config["cleanup.policy"] == "compact"
    assert admin.states([log])[log].config["segment.bytes"] == "104857600"


async def test_raw_made_by_others_is_accepted(
    kafka_settings: KafkaSettings, layout_settings: LayoutSettings
) -> None:
    """Raw may be there before us, if it has P partitions; otherwise nothing is made at all."""
    raw = next(spec for spec in system_topics(layout_settings.topics, 4))
    admin = TopicsAdmin(kafka_settings)
    admin.create([raw], 1)
    wrong = layout_settings.model_copy(update={"partitions": 2})
    with pytest.raises(ConfigurationError, match="fixed for life"):
        await apply_topics(kafka_settings, wrong)
    assert len(await list_topics(kafka_settings, layout_settings)) == 1
    await apply_topics(kafka_settings, layout_settings)


async def test_foreign_log_is_refused(
    kafka_settings: KafkaSettings, layout_settings: LayoutSettings
) -> None:
    """A topic of that name that holds something else is not taken for a log."""
    topic = layout_settings.topics.authorization
    admin = TopicsAdmin(kafka_settings)
    admin.create([system_topics(layout_settings.topics, 4)[1]], 1)
    producer = clients.idempotent_producer(kafka_settings)
    await clients.start(producer, kafka_settings)
    await producer.send_and_wait(topic, b"something else", key=b"k")
    await producer.stop()
    with pytest.raises(WrongLogError):
        await apply_topics(kafka_settings, layout_settings)


async def test_tenant_topic(
    kafka_settings: KafkaSettings, layout_settings: LayoutSettings, midgate_topics: TopicNames
) -> None:
    """Made once; takes larger messages than raw; n divides P and never changes."""
    made = await create_tenant_topic(kafka_settings, layout_settings, "acme", 2)
    assert made.action == "create"
    again = await create_tenant_topic(kafka_settings, layout_settings, "acme", 2)
    assert again.action == "none"
    name = midgate_topics.tenant("acme")
    state = TopicsAdmin(kafka_settings).states([name])[name]
    assert int(state.config["max.message.bytes"]) == TENANT_MESSAGE_BYTES_MAX
    with pytest.raises(ConfigurationError, match="fixed for life"):
        await create_tenant_topic(kafka_settings, layout_settings, "acme", 1)
    with pytest.raises(InputError, match="do not divide"):
        await create_tenant_topic(kafka_settings, layout_settings, "other", 3)
    with pytest.raises(InputError):
        await create_tenant_topic(kafka_settings, layout_settings, "Other_1", 1)


async def test_a_leader_that_takes_no_appends_ends_it(
    broker_factory: BrokerFactory,
    layout_settings: LayoutSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It says so in a stated time, and the next run finishes what it began."""
    monkeypatch.setattr(installation, "APPEND_TIMEOUT_S", 1.0)
    async with await TcpProxy.start() as proxy:
        await asyncio.to_thread(broker_factory, proxy.listener())
        kafka = KafkaSettings(bootstrap=proxy.address)
        proxy.rule = aimed_at(PRODUCE, Fault.SWALLOW)
        async with asyncio.timeout(25):
            with pytest.raises(BrokerUnreachableError, match="nothing could be appended"):
                await apply_topics(kafka, layout_settings)
        proxy.heal()
        assert {"append", "commit"} <= actions(await apply_topics(kafka, layout_settings))
        keys = [r.key for r in await log_records(kafka, layout_settings.topics.authorization)]
        assert len(set(keys)) == len(keys)
