"""The caller gives up while EndTxn waits for a connection. It must not go out later.

Cancelling aiokafka's sender only makes it wait for its children, and one of them sends EndTxn as
soon as it can. Ours shuts the client first, so that nothing gets out whatever is still alive.
"""

import asyncio
from typing import Any

import pytest
from aiokafka.client import AIOKafkaClient

from streams.settings import KafkaSettings
from tests.records_support import one_batch
from tests.transaction_support import (
    committed_offset,
    drop_plain,
    make_topics,
    offsets_of,
    open_producer,
    plain_producer,
    settle,
    values,
)

pytestmark = [pytest.mark.broker, pytest.mark.fault]


class SlowConnecting:
    """From `slow()` on, a client is not ready for a request before `quick` is set."""

    def __init__(self, client: AIOKafkaClient) -> None:
        self.waiting = asyncio.Event()
        self.quick = asyncio.Event()
        self.ended = asyncio.Event()
        self._ready = client.ready
        client.ready = self._slow_ready

    async def _slow_ready(self, *arguments: Any, **options: Any) -> bool:
        self.waiting.set()
        try:
            await self.quick.wait()
            return bool(await self._ready(*arguments, **options))
        finally:
            self.ended.set()


@pytest.mark.parametrize("kill_sender", [True, False])
async def test_nothing_goes_out_after_close(
    kafka_settings: KafkaSettings, prefix: str, kill_sender: bool
) -> None:
    """With the sender killed; and with it left alive, where only the shut client holds it back."""
    raw, tenant = f"{prefix}.raw", f"{prefix}.tenant"
    await make_topics(kafka_settings, raw, tenant)
    producer = await open_producer(kafka_settings, prefix, raw, tenant)
    await producer.begin()
    await producer.send_offsets(offsets_of(raw, 1), prefix)
    await (await producer.send_batch(one_batch(b"1"), tenant, 0))
    slow = SlowConnecting(producer.client)
    if not kill_sender:
        producer._sender.kill = lambda: set()  # type: ignore[method-assign]
    commit = asyncio.create_task(producer.commit())
    await slow.waiting.wait()
    commit.cancel()
    await asyncio.wait([commit])
    await producer.close()
    slow.quick.set()
    await slow.ended.wait()
    # The sender's own next turn, were it alive, would come within its back-off of 5 ms.
    await asyncio.sleep(0.1)
    assert await values(kafka_settings, tenant, wait=False) == []
    await settle(kafka_settings, prefix)
    assert await values(kafka_settings, tenant) == []
    assert await committed_offset(kafka_settings, prefix, raw) == -1
    producer._sender.sender_task.cancel()


async def test_without_the_guard_endtxn_goes_out_later(
    kafka_settings: KafkaSettings, prefix: str
) -> None:
    tenant = f"{prefix}.tenant"
    await make_topics(kafka_settings, tenant)
    producer = await plain_producer(kafka_settings, prefix)
    try:
        await producer.begin_transaction()
        await producer.send_and_wait(tenant, b"1")
        slow = SlowConnecting(producer.client)
        commit = asyncio.create_task(producer.commit_transaction())
        await slow.waiting.wait()
        commit.cancel()
        sender = producer._sender.sender_task
        sender.cancel()
        done, _ = await asyncio.wait([sender], timeout=0.5)
        assert not done
        slow.quick.set()
        await asyncio.wait([sender])
        assert await values(kafka_settings, tenant) == [b"1"]
    finally:
        await drop_plain(producer)
