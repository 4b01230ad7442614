"""Questions to the leader of a log, and appends without a background, on a real broker."""

import time

import pytest
from aiokafka.errors import UnknownTopicOrPartitionError

from streams.heartbeats import KEY, heartbeat
from streams.log_appender import LogAppender
from streams.log_end import LogClient
from streams.settings import KafkaSettings, LayoutSettings
from streams.topics import TopicNames
from tests.log_support import WAIT_S_MAX, foreign_transaction
from tests.transaction_support import eventually, make_topics

pytestmark = pytest.mark.broker

METADATA_MS = 5000
# Records are stamped 0 where the broker does not stamp them: retention would take them at once.
KEPT = {"retention.ms": "-1"}


async def test_it_names_the_open_transactions_of_a_partition(
    kafka_settings: KafkaSettings, layout_settings: LayoutSettings
) -> None:
    """DescribeProducers says the id and epoch that the producer itself was given."""
    topic = layout_settings.topics.authorization
    await make_topics(kafka_settings, topic, config=KEPT)
    client = LogClient(kafka_settings, topic, metadata_max_age_ms=METADATA_MS)
    appender = LogAppender(kafka_settings, topic, metadata_max_age_ms=METADATA_MS)
    await client.open()
    try:
        assert (await client.end()).start is None
        first = heartbeat()
        assert await appender.append(KEY, first, timeout_s=WAIT_S_MAX) == 0
        assert await client.open_transactions() == []
        async with foreign_transaction(kafka_settings, layout_settings) as foreign:
            (found,) = await client.open_transactions()
            manager = foreign._txn_manager
            assert (found.producer_id, found.producer_epoch) == (
                manager.producer_id,
                manager.producer_epoch,
            )
            assert found.start_offset == await client.last_stable_offset() == 1
            end = await client.end()
            assert (end.high_watermark, end.start) == (2, first)

        async def settled() -> bool:
            return await client.last_stable_offset() == 3

        await eventually(settled, "the abort is written")
        assert await client.open_transactions() == []
    finally:
        await client.close()
        await appender.close()


async def test_a_topic_that_is_not_there_is_named(
    kafka_settings: KafkaSettings, prefix: str
) -> None:
    client = LogClient(kafka_settings, f"{prefix}.none", metadata_max_age_ms=METADATA_MS)
    await client.open()
    try:
        with pytest.raises(UnknownTopicOrPartitionError):
            await client.end()
    finally:
        await client.close()


async def test_a_closed_appender_begins_anew(
    kafka_settings: KafkaSettings, layout_settings: LayoutSettings
) -> None:
    topic = layout_settings.topics.authorization
    await make_topics(kafka_settings, topic, config=KEPT)
    appender = LogAppender(kafka_settings, topic, metadata_max_age_ms=METADATA_MS)
    for offset in range(3):
        assert await appender.append(KEY, heartbeat(), timeout_s=WAIT_S_MAX) == offset
        await appender.close()


async def test_many_records_keep_their_order_over_batches(
    kafka_settings: KafkaSettings, layout_settings: LayoutSettings
) -> None:
    """More batches than may be in flight; sequence numbers make the broker refuse a gap."""
    from tests.transaction_support import values

    topic = layout_settings.topics.authorization
    await make_topics(kafka_settings, topic, config=KEPT)
    appender = LogAppender(kafka_settings, topic, metadata_max_age_ms=METADATA_MS)
    wanted = [b"%08d" % number * 1000 for number in range(500)]
    bases = await appender.append_many([(KEY, value) for value in wanted], timeout_s=WAIT_S_MAX)
    await appender.close()
    assert len(bases) > 5
    assert bases == sorted(bases)
    assert list(await values(kafka_settings, topic)) == wanted


@pytest.mark.parametrize("ahead_s", [0.0, 3600.0])
async def test_an_append_compares_the_clocks(
    kafka_settings: KafkaSettings,
    midgate_topics: TopicNames,
    monkeypatch: pytest.MonkeyPatch,
    ahead_s: float,
) -> None:
    """One machine has one clock; what is left is the time on the way."""
    topic, now = midgate_topics.authorization, time.time
    monkeypatch.setattr(time, "time", lambda: now() + ahead_s)
    appender = LogAppender(kafka_settings, topic, metadata_max_age_ms=METADATA_MS)
    await appender.append(KEY, heartbeat(), timeout_s=WAIT_S_MAX)
    await appender.close()
    assert abs(appender.clock_offset_s - ahead_s) < WAIT_S_MAX
