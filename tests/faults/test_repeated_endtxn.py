"""The answer to EndTxn is lost: nobody knows the outcome, so EndTxn is not sent again.

aiokafka sends it again by itself until it is answered, for ever if need be, also after its caller
gave up; a late one of these is what commits half of a later transaction. Ours fails, sends nothing
more, and the next owner of the id finds out what holds.
"""

import asyncio

import pytest

from streams.settings import KafkaSettings
from streams.transactions import TransactionFailedError
from tests.tcp_proxy import END_TXN, Fault, aimed_at
from tests.transaction_support import (
    committed_offset,
    drop_plain,
    eventually,
    make_topics,
    offsets_of,
    open_producer,
    plain_producer,
    proxied,
    send_values,
    settle,
    values,
)

pytestmark = [pytest.mark.broker, pytest.mark.fault]


@pytest.mark.parametrize("fault", [Fault.CUT, Fault.CUT_ANSWER])
async def test_endtxn_is_sent_once(
    kafka_settings: KafkaSettings, prefix: str, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    raw, tenant = f"{prefix}.raw", f"{prefix}.tenant"
    await make_topics(kafka_settings, raw, tenant)
    async with proxied(kafka_settings, monkeypatch) as proxy:
        producer = await open_producer(kafka_settings, prefix, raw, tenant)
        await producer.begin()
        await producer.send_offsets(offsets_of(raw, 1), prefix)
        await send_values(producer, tenant, b"1")
        proxy.rule = aimed_at(END_TXN, fault)
        with pytest.raises(TransactionFailedError):
            await producer.commit()
        proxy.heal()
        await producer.close()
        # The next owner settles it: whole, or not at all.
        await settle(kafka_settings, prefix)
        assert proxy.requests[END_TXN] == 1
    arrived = fault is Fault.CUT_ANSWER
    assert await values(kafka_settings, tenant) == ([b"1"] if arrived else [])
    assert await committed_offset(kafka_settings, prefix, raw) == (1 if arrived else -1)


async def test_without_the_guard_it_is_sent_on_after_the_caller_gave_up(
    kafka_settings: KafkaSettings, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant = f"{prefix}.tenant"
    await make_topics(kafka_settings, tenant)
    async with proxied(kafka_settings, monkeypatch) as proxy:
        producer = await plain_producer(kafka_settings, prefix)
        try:
            await producer.begin_transaction()
            await producer.send_and_wait(tenant, b"1")
            proxy.rule = aimed_at(END_TXN, Fault.CUT)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(producer.commit_transaction(), 1)
            given_up_at = proxy.requests[END_TXN]

            async def sent_again() -> bool:
                return proxy.requests[END_TXN] > given_up_at

            await eventually(sent_again, "EndTxn is sent again")
            proxy.heal()
            # Nobody asked for it any more, and it is committed.
            assert await values(kafka_settings, tenant) == [b"1"]
        finally:
            await drop_plain(producer)
