"""The transactional producer on a real broker: its life, its bounds, EndTxn v5."""

import asyncio
from typing import Any

import pytest
from aiokafka.client import AIOKafkaClient

from streams import broker_features
from streams.endtxn import EndTxnRequestV5
from streams.errors import BrokerUnreachableError, SchemaError
from streams.settings import KafkaSettings
from streams.transactions import (
    ProducerState,
    TransactionalProducer,
    TransactionFailedError,
    TransactionRefusedError,
)
from tests.transaction_support import (
    committed_offset,
    make_topics,
    offsets_of,
    open_producer,
    plain_producer,
    send_values,
    settled,
    values,
)

pytestmark = pytest.mark.broker

INVALID_TXN_STATE = 48


async def test_every_transaction_has_an_epoch_of_its_own(
    kafka_settings: KafkaSettings, prefix: str
) -> None:
    raw, tenant = f"{prefix}.raw", f"{prefix}.tenant"
    await make_topics(kafka_settings, raw, tenant)
    producer = await open_producer(kafka_settings, prefix, raw, tenant)
    epochs = [producer.producer_epoch]
    for number in range(20):
        await producer.begin()
        await producer.send_offsets(offsets_of(raw, number), prefix)
        await send_values(producer, tenant, b"%d" % number)
        await producer.commit()
        epochs.append(producer.producer_epoch)
    await producer.close()
    assert epochs == list(range(epochs[0], epochs[0] + 21))
    # Sequence numbers start anew with each epoch: a gap would have been refused.
    assert await values(kafka_settings, tenant) == [b"%d" % number for number in range(20)]
    assert await committed_offset(kafka_settings, prefix, raw) == 19


async def test_a_repeat_of_the_last_end_is_harmless_and_its_opposite_refused(
    kafka_settings: KafkaSettings, prefix: str
) -> None:
    tenant = f"{prefix}.tenant"
    await make_topics(kafka_settings, tenant)
    producer = await open_producer(kafka_settings, prefix, tenant)
    epoch = producer.producer_epoch
    await producer.begin()
    await send_values(producer, tenant, b"1")
    await producer.commit()
    await settled(kafka_settings, tenant)

    async def end(committed: bool) -> int:
        request = EndTxnRequestV5(prefix, producer.producer_id, epoch, committed)
        node_id = producer.client.get_random_node()
        return int((await producer.client.send(node_id, request)).error_code)

    assert await end(True) == 0
    assert await end(False) == INVALID_TXN_STATE
    await producer.close()
    assert await values(kafka_settings, tenant) == [b"1"]


async def test_plain_producers_beside_ours_go_on_as_they_were(
    kafka_settings: KafkaSettings, prefix: str
) -> None:
    tenant = f"{prefix}.tenant"
    await make_topics(kafka_settings, tenant)
    ours = await open_producer(kafka_settings, prefix, tenant)
    plain = await plain_producer(kafka_settings, f"{prefix}-plain")
    epoch = plain._txn_manager.producer_epoch
    async with plain.transaction():
        await plain.send_and_wait(tenant, b"plain")
    assert plain._txn_manager.producer_epoch == epoch
    await plain.stop()
    await ours.close()


async def test_many_topics_are_learnt_in_one_request(
    kafka_settings: KafkaSettings, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    topics = [f"{prefix}.tenant.{number}" for number in range(40)]
    await make_topics(kafka_settings, *topics)
    producer = await open_producer(kafka_settings, prefix)
    asked: list[int] = []
    ask = producer.client._metadata_update

    async def count(cluster: Any, names: set[str]) -> bool:
        asked.append(len(names))
        return await ask(cluster, names)

    monkeypatch.setattr(producer.client, "_metadata_update", count)
    assert await producer.add_topics(topics) == set()
    assert asked == [40]
    assert await producer.add_topics([*topics, f"{prefix}.nobody"]) == {f"{prefix}.nobody"}
    # What does not exist is not asked for again by itself.
    assert producer.client._topics == set(topics)
    await producer.close()


async def test_an_unknown_topic_is_named(kafka_settings: KafkaSettings, prefix: str) -> None:
    producer = await open_producer(kafka_settings, prefix)
    await producer.begin()
    with pytest.raises(TransactionRefusedError, match=rf"{prefix}\.nobody") as refused:
        await send_values(producer, f"{prefix}.nobody", b"1")
    assert refused.value.topic == f"{prefix}.nobody"
    await producer.close()


async def test_after_a_failure_only_close_is_left(
    kafka_settings: KafkaSettings, prefix: str
) -> None:
    tenant = f"{prefix}.tenant"
    await make_topics(kafka_settings, tenant)
    old = await open_producer(kafka_settings, prefix, tenant)
    new = await open_producer(kafka_settings, prefix, tenant)
    await old.begin()
    await send_values(old, tenant, b"zombie")
    with pytest.raises(TransactionFailedError) as first:
        await old.commit()
    assert first.value.fenced
    assert old.state is ProducerState.FAILED
    for attempt in (old.begin, old.commit):
        with pytest.raises(TransactionFailedError) as again:
            await attempt()
        assert again.value is first.value
    await old.close()
    await old.close()
    await new.close()
    assert await values(kafka_settings, tenant) == []


async def test_a_wait_given_up_is_a_failure(kafka_settings: KafkaSettings, prefix: str) -> None:
    tenant = f"{prefix}.tenant"
    await make_topics(kafka_settings, tenant)
    producer = await open_producer(kafka_settings, prefix, tenant)
    await producer.begin()
    await send_values(producer, tenant, b"1")
    commit = asyncio.create_task(producer.commit())
    await asyncio.sleep(0)
    commit.cancel()
    await asyncio.wait([commit])
    assert commit.cancelled()
    assert producer.state is ProducerState.FAILED
    await producer.close()


async def test_the_brokers_time_out_is_the_local_one_too(
    kafka_settings: KafkaSettings, prefix: str
) -> None:
    """A transaction that goes on longer than its time-out fails here, without a request."""
    tenant = f"{prefix}.tenant"
    await make_topics(kafka_settings, tenant)
    producer = await TransactionalProducer.open(
        kafka_settings, prefix, transaction_timeout_ms=1_000, topics=[tenant]
    )
    await producer.begin()
    await send_values(producer, tenant, b"1")
    # The time passes while nobody awaits: a long computation.
    producer._deadline -= 2
    with pytest.raises(TransactionFailedError, match="time-out"):
        await producer.commit()
    await producer.close()
    assert await values(kafka_settings, tenant) == []


async def test_close_leaves_nothing_running(kafka_settings: KafkaSettings, prefix: str) -> None:
    tenant = f"{prefix}.tenant"
    await make_topics(kafka_settings, tenant)
    before = asyncio.all_tasks()
    producer = await open_producer(kafka_settings, prefix, tenant)
    await producer.begin()
    await send_values(producer, tenant, b"1")
    await producer.close()
    await asyncio.sleep(0)
    assert {task for task in asyncio.all_tasks() - before if not task.done()} == set()


async def test_a_cluster_without_transactions_v2_is_refused(
    kafka_settings: KafkaSettings, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = AIOKafkaClient(bootstrap_servers=kafka_settings.bootstrap)
    await client.bootstrap()
    assert await broker_features.transaction_version(client, client.get_random_node()) >= 2
    await client.close()
    monkeypatch.setattr(broker_features, "TRANSACTION_VERSION_MIN", 99)
    with pytest.raises(SchemaError, match=r"transaction\.version") as refused:
        await open_producer(kafka_settings, prefix)
    assert "kafka-features.sh" in refused.value.hint


async def test_an_address_where_nobody_answers_is_an_error_with_a_hint() -> None:
    nobody = KafkaSettings(bootstrap="127.0.0.1:1", request_timeout_ms=1000)
    with pytest.raises(BrokerUnreachableError) as unreachable:
        await open_producer(nobody, "id")
    assert unreachable.value.hint
