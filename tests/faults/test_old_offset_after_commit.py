"""An offset fetched right after a commit can be the one before it. Waiting for one's own nonce
gives the right one, every time.
"""

import pytest
from aiokafka import TopicPartition
from aiokafka.structs import OffsetAndMetadata

from streams.group_offsets import Offsets, await_offsets, fetch_offsets
from streams.settings import KafkaSettings
from tests.transaction_support import make_topics, open_producer

pytestmark = [pytest.mark.broker, pytest.mark.fault]

ROUNDS = 100
# Old were 4 of 100 on a quiet machine; so many rounds without one would be 10^-17.
ROUNDS_WITHOUT_MAX = 1000


async def test_the_offset_behind_the_nonce_is_the_right_one(
    kafka_settings: KafkaSettings, prefix: str
) -> None:
    raw, ack = TopicPartition(f"{prefix}.raw", 0), TopicPartition(f"{prefix}.ledger", 0)
    await make_topics(kafka_settings, raw.topic, ack.topic)
    producer = await open_producer(kafka_settings, prefix)
    for number in range(ROUNDS):
        await producer.begin()
        await producer.send_offsets({raw: OffsetAndMetadata(number, "")}, prefix)
        await producer.commit()
        nonce = f"nonce {number}"
        await producer.begin()
        await producer.send_offsets({ack: OffsetAndMetadata(0, nonce)}, prefix)
        await producer.commit()

        def seen(offsets: Offsets, nonce: str = nonce) -> bool:
            return ack in offsets and offsets[ack].metadata == nonce

        offsets = await await_offsets(producer.client, prefix, [raw, ack], seen, timeout_s=10)
        assert offsets[raw].offset == number
    await producer.close()


async def test_without_the_nonce_an_old_offset_is_read(
    kafka_settings: KafkaSettings, prefix: str
) -> None:
    raw = TopicPartition(f"{prefix}.raw", 0)
    await make_topics(kafka_settings, raw.topic)
    producer = await open_producer(kafka_settings, prefix)
    for number in range(ROUNDS_WITHOUT_MAX):
        await producer.begin()
        await producer.send_offsets({raw: OffsetAndMetadata(number, "")}, prefix)
        await producer.commit()
        offsets = await fetch_offsets(producer.client, prefix, [raw])
        if raw not in offsets or offsets[raw].offset != number:
            break
    else:
        pytest.fail(f"no old offset in {ROUNDS_WITHOUT_MAX} rounds")
    await producer.close()
