"""A log that is not the one that was followed ends following; nothing is guessed."""

import asyncio
import shutil

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from streams import clients
from streams.errors import WrongLogError
from streams.lease import NEVER
from streams.settings import KafkaSettings, LayoutSettings
from streams.topics import TopicNames
from streams.topics_admin import apply_topics
from tests.kafka_support import BrokerFactory
from tests.log_support import WAIT_S_MAX, append, following, grant, revocation, tenant, until
from tests.transaction_support import delete_topics

pytestmark = pytest.mark.broker


async def test_a_log_made_anew_under_it(
    kafka_settings: KafkaSettings, layout_settings: LayoutSettings, midgate_topics: TopicNames
) -> None:
    """The new log is longer than the old one was: by offsets alone it would look fine."""
    await append(kafka_settings, layout_settings, tenant(layout_settings), grant("g1"))
    async with following(kafka_settings, layout_settings) as follower:
        log_id = follower.rights.log_id
        await delete_topics(kafka_settings, midgate_topics.authorization)
        await apply_topics(kafka_settings, layout_settings)
        await append(kafka_settings, layout_settings, *(grant(f"h{n}") for n in range(200)))
        with pytest.raises(WrongLogError):
            await follower.wait_changed(1_000_000, WAIT_S_MAX)
        assert (follower.problem or "").startswith("wrong log")
        assert follower.snapshot().confirmed_at == NEVER
        assert follower.rights.log_id == log_id
        assert not any(grant_id.startswith("h") for grant_id in follower.rights.grants)


async def test_a_log_that_was_removed(
    kafka_settings: KafkaSettings, layout_settings: LayoutSettings, midgate_topics: TopicNames
) -> None:
    """It is gone, which can be mended or not: nothing is decided, and nothing is appended."""
    async with following(kafka_settings, layout_settings) as follower:
        await delete_topics(kafka_settings, midgate_topics.authorization)
        await until(lambda: "does not exist" in (follower.problem or ""), "the lease has run out")


async def test_a_log_whose_beginning_was_deleted(
    kafka_settings: KafkaSettings, layout_settings: LayoutSettings, midgate_topics: TopicNames
) -> None:
    await append(kafka_settings, layout_settings, tenant(layout_settings))
    async with following(kafka_settings, layout_settings) as follower:
        await delete_records(kafka_settings, midgate_topics.authorization, 2)
        with pytest.raises(WrongLogError):
            await follower.wait_changed(1_000_000, WAIT_S_MAX)
    with pytest.raises(WrongLogError):
        async with following(kafka_settings, layout_settings, heartbeat=False):
            pass


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_log_restored_from_a_backup(
    broker_factory: BrokerFactory, layout_settings: LayoutSettings
) -> None:
    """The same log id, but its last change, a revocation, is gone: shorter than what was read.

    A broker is allowed to say so for a lease (a deposed one might); nothing is decided meanwhile.
    """
    broker = await asyncio.to_thread(broker_factory)
    data, backup = broker.folder / "data", broker.folder / "backup"
    kafka = KafkaSettings(bootstrap=broker.bootstrap)
    await apply_topics(kafka, layout_settings)
    await append(kafka, layout_settings, tenant(layout_settings), grant("g1"))
    await asyncio.to_thread(broker.stop)
    await asyncio.to_thread(shutil.copytree, data, backup)
    await asyncio.to_thread(broker.start)
    kafka = KafkaSettings(bootstrap=broker.bootstrap)
    async with following(kafka, layout_settings) as follower:
        offset = await append(kafka, layout_settings, revocation("g1"))
        await follower.wait_for_version(offset + 1, WAIT_S_MAX)
        await asyncio.to_thread(broker.kill)
        await asyncio.to_thread(shutil.rmtree, data)
        await asyncio.to_thread(shutil.copytree, backup, data)
        await asyncio.to_thread(broker.start)
        with pytest.raises(WrongLogError):
            await follower.wait_changed(1_000_000, WAIT_S_MAX)
        assert follower.snapshot().confirmed_at == NEVER


async def delete_records(kafka: KafkaSettings, topic: str, before: int) -> None:
    """Remove what lies below an offset, as an operator could who also changed the policy."""
    admin = clients.admin(kafka)
    await admin.start()
    try:
        policy = {"cleanup.policy": "compact,delete", "message.timestamp.type": "LogAppendTime"}
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, policy)])
        await admin.delete_records({TopicPartition(topic, 0): RecordsToDelete(before)})
    finally:
        await admin.close()
