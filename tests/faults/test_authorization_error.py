"""One topic refuses the principal. Nothing of the failed attempt may ever be published.

aiokafka reports the error, its `abort_transaction` returns, and nothing was aborted: the broker's
transaction stays open, and the next commit publishes the failed attempt together with the next.
"""

import asyncio

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # re-exported without saying so
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from streams.settings import KafkaSettings
from streams.transactions import TransactionRefusedError
from tests.kafka_support import BrokerFactory
from tests.transaction_support import (
    drop_plain,
    eventually,
    make_topics,
    open_producer,
    plain_producer,
    send_values,
    values,
)

pytestmark = [pytest.mark.broker, pytest.mark.fault]

AUTHORIZER = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found": "true",
}
ALLOWED = ("tenant.allowed", "tenant.unguarded")
DENIED = "tenant.denied"


@pytest.fixture
async def guarded_kafka(broker_factory: BrokerFactory) -> KafkaSettings:
    """A broker where one of two topics may be seen but not written."""
    broker = await asyncio.to_thread(broker_factory, AUTHORIZER)
    kafka = KafkaSettings(bootstrap=broker.bootstrap)
    await make_topics(kafka, *ALLOWED, DENIED)
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    rules = [
        _rule(AclOperation.DESCRIBE, AclPermissionType.ALLOW),
        _rule(AclOperation.WRITE, AclPermissionType.DENY),
    ]
    for future in admin.create_acls(rules).values():
        await asyncio.to_thread(future.result, 10)

    async def refused() -> bool:
        producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, acks="all")
        await producer.start()
        try:
            await producer.send_and_wait(DENIED, b"probe")
        except KafkaError:
            return True
        finally:
            await producer.stop()
        return False

    await eventually(refused, "the deny rule is in force")
    return kafka


def _rule(operation: AclOperation, permission: AclPermissionType) -> AclBinding:
    return AclBinding(
        ResourceType.TOPIC,
        DENIED,
        ResourcePatternType.LITERAL,
        "User:ANONYMOUS",
        "*",
        operation,
        permission,
    )


async def test_nothing_of_the_failed_attempt_is_published(guarded_kafka: KafkaSettings) -> None:
    """Both on one broker, as it must be one of its own: with the guard, then without it."""
    allowed, unguarded = ALLOWED
    producer = await open_producer(guarded_kafka, "ours", allowed, DENIED)
    await producer.begin()
    await send_values(producer, allowed, b"attempt 1")
    await send_values(producer, DENIED, b"attempt 1")
    with pytest.raises(TransactionRefusedError, match=DENIED) as refused:
        await producer.commit()
    await producer.close()
    assert refused.value.topic == DENIED

    producer = await open_producer(guarded_kafka, "ours", allowed)
    await producer.begin()
    await send_values(producer, allowed, b"attempt 2")
    await producer.commit()
    await producer.close()
    assert await values(guarded_kafka, allowed) == [b"attempt 2"]

    await _without_the_guard(guarded_kafka, unguarded)
    assert await values(guarded_kafka, unguarded) == [b"attempt 1", b"attempt 2"]


async def _without_the_guard(kafka: KafkaSettings, allowed: str) -> None:
    producer = await plain_producer(kafka, "plain")
    try:
        await producer.begin_transaction()
        await producer.send_and_wait(allowed, b"attempt 1")
        refused = await producer.send(DENIED, b"attempt 1")
        with pytest.raises(KafkaError):
            await asyncio.wait_for(producer.commit_transaction(), 5)
        refused.cancel()
        await producer.abort_transaction()
        async with producer.transaction():
            await producer.send_and_wait(allowed, b"attempt 2")
    finally:
        await drop_plain(producer)
