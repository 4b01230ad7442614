"""A worker is cut off, another takes its lane over, and the first comes back.

It must begin where the other ended. An owner that only initialises its producer again, and goes on
from its own memory, places the same events twice and moves the committed offset back.
"""

import pytest

from streams.deliverer import DeposedError
from streams.settings import KafkaSettings
from streams.transactions import TransactionalProducer, TransactionFailedError
from tests.deliverer_support import (
    Installation,
    input_records,
    route_all_to,
)
from tests.transaction_support import (
    committed_offset,
    make_topics,
    offsets_of,
    open_producer,
    send_values,
    values,
)

pytestmark = [pytest.mark.broker, pytest.mark.fault]


async def test_it_goes_on_where_the_other_ended(installed: Installation) -> None:
    everything = input_records(0, 6)
    route = route_all_to(installed.tenant)
    cut_off = installed.lane()
    await cut_off.start()
    await cut_off.deliver(everything[:2], route)
    successor = installed.lane()
    await successor.start()
    await successor.deliver(everything[2:5], route)

    # Back again, with the next batch in hand.
    with pytest.raises((TransactionFailedError, DeposedError)):
        await cut_off.deliver(everything[2:4], route)
    points = await cut_off.start()
    assert points[0].offset == 5
    await cut_off.deliver(everything[points[0].offset :], route)
    await cut_off.stop()
    await successor.stop()
    assert await installed.delivered() == [record.value for record in everything]
    offsets = await installed.offsets()
    assert sorted(found.offset for found in offsets.values())[1] == 6


async def test_without_the_guard_events_are_doubled(
    kafka_settings: KafkaSettings, prefix: str
) -> None:
    raw, tenant = f"{prefix}.raw", f"{prefix}.tenant"
    await make_topics(kafka_settings, raw, tenant)

    async def batch(producer: TransactionalProducer, first: int, after: int) -> None:
        await producer.begin()
        await producer.send_offsets(offsets_of(raw, after), prefix)
        await send_values(producer, tenant, *(b"%d" % number for number in range(first, after)))
        await producer.commit()

    cut_off = await open_producer(kafka_settings, prefix, raw, tenant)
    await batch(cut_off, 0, 2)
    successor = await open_producer(kafka_settings, prefix, raw, tenant)
    await batch(successor, 2, 5)
    with pytest.raises(TransactionFailedError):
        await batch(cut_off, 2, 4)
    await cut_off.close()
    cut_off = await open_producer(kafka_settings, prefix, raw, tenant)
    await batch(cut_off, 2, 4)
    await cut_off.close()
    await successor.close()
    assert await values(kafka_settings, tenant) == [b"0", b"1", b"2", b"3", b"4", b"2", b"3"]
    assert await committed_offset(kafka_settings, prefix, raw) == 4
