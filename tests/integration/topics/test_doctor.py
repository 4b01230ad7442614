"""`midgate doctor` on a real broker: a sound installation, and each thing that can be wrong."""

import json
import uuid

import pytest
from aiokafka import TopicPartition
from aiokafka.structs import OffsetAndMetadata

from midgate.checks import FAIL, OK, Check, Doctor
from midgate.cli import run
from streams import clients
from streams.acknowledgement import Acknowledgement, encode_acknowledgement
from streams.changes import tenant_change
from streams.settings import KafkaSettings, LayoutSettings, Settings
from streams.topics import TopicNames, system_topics, tenant_topic
from streams.topics_admin import create_tenant_topic
from streams.topics_client import TopicsAdmin
from tests.kafka_support import BrokerFactory, KafkaUnderTest

pytestmark = pytest.mark.broker


async def examined(
    kafka: KafkaSettings, layout: LayoutSettings, *, local: bool = True
) -> dict[str, Check]:
    checks = await Doctor(Settings(kafka=kafka, layout=layout), local).examine()
    return {check.name: check for check in checks}


def failures(checks: dict[str, Check]) -> dict[str, Check]:
    return {name: check for name, check in checks.items() if check.status == FAIL}


async def commit(kafka: KafkaSettings, group: str, offsets: dict[TopicPartition, object]) -> None:
    consumer = clients.consumer(kafka, group_id=group)
    await clients.start(consumer, kafka)
    try:
        consumer.assign(list(offsets))
        await consumer.commit(offsets)
    finally:
        await consumer.stop()


async def test_sound_installation(
    kafka_settings: KafkaSettings, layout_settings: LayoutSettings, midgate_topics: TopicNames
) -> None:
    """Everything is looked at, and everything is well."""
    checks = await examined(kafka_settings, layout_settings)
    assert {check.status for check in checks.values()} == {OK}, checks
    expected = "config java schemas broker transactions replication clock lease layout lag"
    assert set(expected.split()) <= set(checks)
    assert checks["transactions"].detail == "transaction.version 2"


async def test_topics_that_drifted_or_are_missing(
    kafka_settings: KafkaSettings, layout_settings: LayoutSettings, midgate_topics: TopicNames
) -> None:
    log = midgate_topics.authorization
    admin = TopicsAdmin(kafka_settings)
    admin.configure(log, {"message.timestamp.type": "CreateTime"})
    failed = failures(await examined(kafka_settings, layout_settings))
    assert set(failed) == {f"topic {log}"}
    assert "CreateTime, not LogAppendTime" in failed[f"topic {log}"].detail
    assert "topics apply" in failed[f"topic {log}"].fix


async def test_nothing_applied_yet(
    kafka_settings: KafkaSettings, layout_settings: LayoutSettings
) -> None:
    failed = failures(await examined(kafka_settings, layout_settings))
    topics = system_topics(layout_settings.topics, layout_settings.partitions)
    assert set(failed) == {f"topic {topic.name}" for topic in topics}
    assert all("topics apply" in check.fix for check in failed.values())


async def test_other_layout(
    kafka_settings: KafkaSettings, layout_settings: LayoutSettings, midgate_topics: TopicNames
) -> None:
    other = layout_settings.model_copy(update={"lanes": 4})
    failed = failures(await examined(kafka_settings, other))
    assert "MIDGATE_LANES=2" in failed["layout"].fix


async def test_tenant_topic_that_takes_too_little(
    kafka_settings: KafkaSettings, layout_settings: LayoutSettings, midgate_topics: TopicNames
) -> None:
    """A record that fits raw must fit the tenant's topic with our headers."""
    change_id = uuid.uuid4().bytes
    value = tenant_change(
        "acme",
        name="Acme",
        party_type="SHIPPER",
        crid="",
        topic=midgate_topics.tenant("acme"),
        partitions=1,
        actor="test",
        reason="",
        change_id=change_id,
    )
    producer = clients.idempotent_producer(kafka_settings)
    await clients.start(producer, kafka_settings)
    key = change_id.hex().encode()
    await producer.send_and_wait(midgate_topics.authorization, value, key=key, partition=0)
    await producer.stop()
    name = tenant_topic(midgate_topics, "acme").name
    failed = failures(await examined(kafka_settings, layout_settings))
    assert failed[f"topic {name}"].detail == "does not exist"
    await create_tenant_topic(kafka_settings, layout_settings, "acme", 1)
    assert failures(await examined(kafka_settings, layout_settings)) == {}
    TopicsAdmin(kafka_settings).configure(name, {"max.message.bytes": "1048588"})
    failed = failures(await examined(kafka_settings, layout_settings))
    assert "max.message.bytes" in failed[f"topic {name}"].detail


async def test_acknowledgement_of_another_log(
    kafka_settings: KafkaSettings, layout_settings: LayoutSettings, midgate_topics: TopicNames
) -> None:
    """A lane that went by another log, or further than this one goes: something was restored."""
    said = encode_acknowledgement(Acknowledgement(str(uuid.uuid4()), 1, "nonce", 1, 0))
    key = TopicPartition(midgate_topics.ledger, 1)
    await commit(kafka_settings, layout_settings.router_group, {key: OffsetAndMetadata(1, said)})
    failed = failures(await examined(kafka_settings, layout_settings))
    assert set(failed) == {"acknowledgements"}


async def test_offset_beyond_the_end(
    kafka_settings: KafkaSettings, layout_settings: LayoutSettings, midgate_topics: TopicNames
) -> None:
    key = TopicPartition(midgate_topics.raw, 3)
    await commit(kafka_settings, layout_settings.router_group, {key: 7})
    failed = failures(await examined(kafka_settings, layout_settings))
    assert "beyond the log's end" in failed["offsets"].detail


async def test_broker_with_bad_settings(
    broker_factory: BrokerFactory, layout_settings: LayoutSettings
) -> None:
    broker = broker_factory(
        {
            "auto.create.topics.enable": "true",
            "transaction.partition.verification.enable": "false",
        }
    )
    checks = await Doctor(
        Settings(kafka=KafkaSettings(bootstrap=broker.bootstrap), layout=layout_settings), True
    ).examine()
    details = [check.detail for check in checks if check.name == "broker settings"]
    assert len(details) == 2
    assert "auto.create.topics.enable is true" in details[0]


def test_command(kafka: KafkaUnderTest, prefix: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 7 with a failed check, 0 when all is well; the answer is on stdout alone."""
    line = ["--bootstrap", kafka.bootstrap, "--prefix", prefix, "--app-id", prefix]
    assert run([*line, "doctor", "-o", "json"]) == 7
    shown = json.loads(capsys.readouterr().out)
    assert shown["ok"] is False
    assert run([*line, "topics", "apply"]) == 0
    capsys.readouterr()
    assert run([*line, "doctor"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    lines = captured.out.splitlines()
    assert any(text.startswith("warn replication") for text in lines)  # not a local broker
    assert all(text.startswith(("ok ", "warn ")) for text in lines)
