"""Somebody initialises our transactional id at each step of a transaction.

Never are both visible, the fenced owner always learns of it, and the new owner's transaction
counts. With a second id instead of a fence (a changed layout, say) both would be committed.
"""

from collections.abc import Awaitable, Callable

import pytest

from streams.settings import KafkaSettings
from streams.transactions import TransactionalProducer, TransactionFailedError
from tests.records_support import one_batch
from tests.transaction_support import (
    committed_offset,
    make_topics,
    offsets_of,
    open_producer,
    values,
)

pytestmark = [pytest.mark.broker, pytest.mark.fault]

STEPS = ["begin", "offsets", "records", "commit"]


@pytest.mark.parametrize("step", STEPS)
async def test_the_fenced_owner_commits_nothing(
    kafka_settings: KafkaSettings, prefix: str, step: str
) -> None:
    raw, tenant = f"{prefix}.raw", f"{prefix}.tenant"
    await make_topics(kafka_settings, raw, tenant)
    old = await open_producer(kafka_settings, prefix, raw, tenant)
    successors: list[TransactionalProducer] = []

    async def reach(now: str) -> None:
        if now == step:
            successors.append(await open_producer(kafka_settings, prefix, raw, tenant))

    with pytest.raises(TransactionFailedError) as fenced:
        await _transaction(old, raw, tenant, b"old", reach)
    await old.close()
    assert fenced.value.fenced
    (new,) = successors
    await _transaction(new, raw, tenant, b"new", _nothing)
    await new.close()
    assert await values(kafka_settings, tenant) == [b"new"]
    assert await committed_offset(kafka_settings, raw, raw) == 1


async def test_with_two_ids_both_are_visible(kafka_settings: KafkaSettings, prefix: str) -> None:
    raw, tenant = f"{prefix}.raw", f"{prefix}.tenant"
    await make_topics(kafka_settings, raw, tenant)
    old = await open_producer(kafka_settings, f"{prefix}-3", raw, tenant)

    async def reach(now: str) -> None:
        if now == "commit":
            new = await open_producer(kafka_settings, f"{prefix}-lane-0", raw, tenant)
            await _transaction(new, raw, tenant, b"new", _nothing)
            await new.close()

    await _transaction(old, raw, tenant, b"old", reach)
    await old.close()
    assert sorted(await values(kafka_settings, tenant)) == [b"new", b"old"]


async def _transaction(
    producer: TransactionalProducer,
    raw: str,
    tenant: str,
    payload: bytes,
    reach: Callable[[str], Awaitable[None]],
) -> None:
    """One transaction; `reach` is told before each step."""
    await reach("begin")
    await producer.begin()
    await reach("offsets")
    await producer.send_offsets(offsets_of(raw, 1), raw)
    await reach("records")
    await (await producer.send_batch(one_batch(payload), tenant, 0))
    await reach("commit")
    await producer.commit()


async def _nothing(step: str) -> None:
    return None
