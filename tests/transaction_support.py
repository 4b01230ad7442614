"""What tests of the transaction layer share: plain clients that look at what a reader would see."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.conn import create_conn
from aiokafka.errors import for_code
from aiokafka.structs import OffsetAndMetadata

from streams import clients
from streams.settings import KafkaSettings
from streams.transactions import TransactionalProducer
from tests.records_support import one_batch
from tests.tcp_proxy import TcpProxy

# Shorter than the default, so that a broker's time-out is seen within a test.
TIMEOUT_MS = 8_000
WAIT_S_MAX = 30.0
# Client ids of the producers under test: ours, and aiokafka's own.
PRODUCER_CLIENTS = ("midgate-", "plain-")


async def make_topics(
    kafka: KafkaSettings, *names: str, partitions: int = 1, config: dict[str, str] | None = None
) -> None:
    """Create topics and wait until they can be used."""
    admin = clients.admin(kafka)
    await admin.start()
    try:
        answer = await admin.create_topics(
            [NewTopic(name, partitions, 1, topic_configs=config or {}) for name in names]
        )
        for _, code, *_ in answer.topic_errors:
            if code:
                raise for_code(code)()
        await eventually(lambda: _all_led(admin, names), "the topics have leaders")
    finally:
        await admin.close()


async def _all_led(admin: AIOKafkaAdminClient, names: Iterable[str]) -> bool:
    topics = await admin.describe_topics(list(names))
    return all(
        topic["error_code"] == 0 and all(part["leader"] >= 0 for part in topic["partitions"])
        for topic in topics
    )


async def delete_topics(kafka: KafkaSettings, *names: str) -> None:
    """Delete topics and wait until the broker does not know them any more."""
    admin = clients.admin(kafka)
    await admin.start()
    try:
        await admin.delete_topics(list(names))

        async def gone() -> bool:
            return not set(names) & set(await admin.list_topics())

        await eventually(gone, "the topics are gone")
    finally:
        await admin.close()


async def eventually(holds: Callable[[], Awaitable[bool]], what: str) -> None:
    """Wait for a condition, with a deadline."""
    deadline = time.monotonic() + WAIT_S_MAX
    while not await holds():
        assert time.monotonic() < deadline, f"not within {WAIT_S_MAX:g} s: {what}"
        await asyncio.sleep(0.02)


async def ends(kafka: KafkaSettings, topic: str, partition: int = 0) -> tuple[int, int]:
    """Last stable offset and high watermark."""
    place = TopicPartition(topic, partition)
    found = []
    for isolation_level in ("read_committed", "read_uncommitted"):
        consumer = clients.consumer(kafka, isolation_level=isolation_level)
        await consumer.start()
        try:
            found.append(int((await consumer.end_offsets([place]))[place]))
        finally:
            await consumer.stop()
    return found[0], found[1]


async def settled(kafka: KafkaSettings, topic: str, partition: int = 0) -> None:
    """Wait until no transaction is open on the partition: markers are written after the answer."""

    async def none_open() -> bool:
        stable, high = await ends(kafka, topic, partition)
        return stable == high

    await eventually(none_open, f"no transaction is open on {topic}")


async def values(
    kafka: KafkaSettings, topic: str, partition: int = 0, *, wait: bool = True
) -> list[bytes]:
    """Every value a `read_committed` reader sees, in order; when nothing is open any more, or,
    without `wait`, now.
    """
    if wait:
        await settled(kafka, topic, partition)
    consumer = clients.consumer(kafka, isolation_level="read_committed")
    await consumer.start()
    try:
        place = TopicPartition(topic, partition)
        consumer.assign([place])
        end = (await consumer.end_offsets([place]))[place]
        await consumer.seek_to_beginning(place)
        seen: list[bytes] = []
        async with asyncio.timeout(WAIT_S_MAX):
            while await consumer.position(place) < end:
                for records in (await consumer.getmany(timeout_ms=100)).values():
                    seen += [record.value for record in records]
        return seen
    finally:
        await consumer.stop()


async def committed_offset(kafka: KafkaSettings, group: str, topic: str, partition: int = 0) -> int:
    """The group's committed offset; -1 when there is none. Look at it after the topics have
    settled, as its marker is written with theirs.
    """
    admin = clients.admin(kafka)
    await admin.start()
    try:
        offsets = await admin.list_consumer_group_offsets(group)
        found = offsets.get(TopicPartition(topic, partition))
        return -1 if found is None else int(found.offset)
    finally:
        await admin.close()


async def open_producer(
    kafka: KafkaSettings, transactional_id: str, *topics: str
) -> TransactionalProducer:
    """A producer of ours, with the tests' time-out."""
    return await TransactionalProducer.open(
        kafka, transactional_id, transaction_timeout_ms=TIMEOUT_MS, topics=topics
    )


async def plain_producer(kafka: KafkaSettings, transactional_id: str) -> AIOKafkaProducer:
    """aiokafka's own transactional producer: what every guard here is held against."""
    producer = AIOKafkaProducer(
        **clients.connection(kafka),
        client_id=f"plain-{transactional_id}",
        transactional_id=transactional_id,
        acks="all",
        transaction_timeout_ms=TIMEOUT_MS,
        max_batch_size=1 << 20,
        retry_backoff_ms=20,
    )
    await producer.start()
    return producer


async def drop_plain(producer: AIOKafkaProducer) -> None:
    """End a plain producer that may be in no state to be stopped."""
    await producer.client.close()
    task = producer._sender.sender_task
    if task is not None and not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=2)
    producer._closed = True


async def settle(kafka: KafkaSettings, transactional_id: str) -> None:
    """Make the broker end whatever the id has open, as a new owner would."""
    producer = await open_producer(kafka, transactional_id)
    await producer.close()


async def send_values(
    producer: TransactionalProducer, topic: str, *payloads: bytes, partition: int = 0
) -> None:
    """One batch of values."""
    await producer.send_batch(one_batch(*payloads), topic, partition)


def offsets_of(
    topic: str, offset: int, partition: int = 0
) -> dict[TopicPartition, OffsetAndMetadata]:
    """Offsets as `send_offsets` takes them."""
    return {TopicPartition(topic, partition): OffsetAndMetadata(offset, "")}


@asynccontextmanager
async def proxied(kafka: KafkaSettings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[TcpProxy]:
    """A proxy that the producers of this test, and no other client, connect through.

    A Kafka client connects to the advertised address; so it is the connecting that is turned
    aside, not the address.
    """
    host, _, port = kafka.bootstrap.partition(":")
    async with await TcpProxy.start((host, int(port))) as proxy:

        async def connect(host: str, port: int, **options: Any) -> Any:
            if options["client_id"].startswith(PRODUCER_CLIENTS):
                return await create_conn("127.0.0.1", proxy.port, **options)
            return await create_conn(host, port, **options)

        monkeypatch.setattr("aiokafka.client.create_conn", connect)
        yield proxy
