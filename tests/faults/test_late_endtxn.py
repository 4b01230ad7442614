"""The network delivers a late copy of the last EndTxn while the next transaction is half done.

With EndTxn v0, aiokafka's own, the copy commits that half: offsets first, so the events of the
other half are lost. With v5 every transaction has an epoch of its own, and the copy is refused.
"""

import asyncio
import struct

import pytest

from streams.settings import KafkaSettings
from tests.records_support import one_batch
from tests.tcp_proxy import END_TXN, Fault, TcpProxy
from tests.transaction_support import (
    WAIT_S_MAX,
    committed_offset,
    drop_plain,
    make_topics,
    offsets_of,
    open_producer,
    plain_producer,
    proxied,
    send_values,
    settled,
    values,
)

pytestmark = [pytest.mark.broker, pytest.mark.fault]

PRODUCER_FENCED = 90
CONCURRENT_TRANSACTIONS = 51
# Where the error code stands in the answer: after correlation id (and, in the flexible header of
# v5, a tag count) and throttle time.
ERROR_AT = {0: 8, 5: 9}


class Recorder:
    """Keeps a copy of every EndTxn that passes the proxy, and can play one again later."""

    def __init__(self, proxy: TcpProxy) -> None:
        self.frames: list[bytes] = []
        self._proxy = proxy
        proxy.rule = self._keep

    def _keep(self, api_key: int, frame: bytes) -> Fault:
        if api_key == END_TXN:
            self.frames.append(frame)
        return Fault.PASS

    async def play_again(self, frame: bytes) -> int:
        """Deliver the copy; the broker's error code.

        Once more, as every client does, while markers of the transaction before are being written.
        """
        (version,) = struct.unpack(">h", frame[2:4])
        at = ERROR_AT[version]
        async with asyncio.timeout(WAIT_S_MAX):
            while True:
                answer = await self._proxy.send_copy(frame)
                code = int(struct.unpack(">h", answer[at : at + 2])[0])
                if code != CONCURRENT_TRANSACTIONS:
                    return code


async def test_a_late_copy_is_refused(
    kafka_settings: KafkaSettings, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw, first, second = f"{prefix}.raw", f"{prefix}.first", f"{prefix}.second"
    await make_topics(kafka_settings, raw, first, second)
    async with proxied(kafka_settings, monkeypatch) as proxy:
        recorder = Recorder(proxy)
        producer = await open_producer(kafka_settings, prefix, raw, first, second)
        await producer.begin()
        await send_values(producer, first, b"1")
        await producer.commit()

        await producer.begin()
        await producer.send_offsets(offsets_of(raw, 20), prefix)
        await (await producer.send_batch(one_batch(b"2, first half"), first, 0))
        assert await recorder.play_again(recorder.frames[-1]) == PRODUCER_FENCED
        assert await values(kafka_settings, first, wait=False) == [b"1"]

        await send_values(producer, second, b"2, second half")
        await producer.commit()
        await settled(kafka_settings, second)
        # A copy of the very last one finds its work done, and changes nothing.
        assert await recorder.play_again(recorder.frames[-1]) == 0
        await producer.close()
    assert await values(kafka_settings, first) == [b"1", b"2, first half"]
    assert await values(kafka_settings, second) == [b"2, second half"]
    assert await committed_offset(kafka_settings, prefix, raw) == 20


async def test_an_end_held_back_by_the_network_arrives_in_the_next_owners_transaction(
    kafka_settings: KafkaSettings, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant = f"{prefix}.tenant"
    await make_topics(kafka_settings, tenant)
    held: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def hold(api_key: int, frame: bytes) -> Fault:
        if api_key != END_TXN:
            return Fault.PASS
        held.set_result(frame)
        return Fault.SWALLOW

    async with proxied(kafka_settings, monkeypatch) as proxy:
        old = await open_producer(kafka_settings, prefix, tenant)
        await old.begin()
        await send_values(old, tenant, b"old")
        proxy.rule = hold
        commit = asyncio.create_task(old.commit())
        frame = await held
        commit.cancel()
        await asyncio.wait([commit])
        await old.close()
        recorder = Recorder(proxy)
        new = await open_producer(kafka_settings, prefix, tenant)
        await new.begin()
        await send_values(new, tenant, b"new")
        assert await recorder.play_again(frame) == PRODUCER_FENCED
        await new.commit()
        await new.close()
    assert await values(kafka_settings, tenant) == [b"new"]


async def test_without_the_guard_the_copy_commits_half(
    kafka_settings: KafkaSettings, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw, first, second = f"{prefix}.raw", f"{prefix}.first", f"{prefix}.second"
    await make_topics(kafka_settings, raw, first, second)
    async with proxied(kafka_settings, monkeypatch) as proxy:
        recorder = Recorder(proxy)
        producer = await plain_producer(kafka_settings, prefix)
        try:
            await producer.begin_transaction()
            await producer.send_and_wait(first, b"1")
            await producer.commit_transaction()
            await producer.begin_transaction()
            await producer.send_offsets_to_transaction(offsets_of(raw, 20), prefix)
            await producer.send_and_wait(first, b"2, first half")
            assert await recorder.play_again(recorder.frames[-1]) == 0
        finally:
            await drop_plain(producer)
    assert await values(kafka_settings, first) == [b"1", b"2, first half"]
    assert await values(kafka_settings, second) == []
    assert await committed_offset(kafka_settings, prefix, raw) == 20
