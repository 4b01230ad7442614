"""Held events read from `<prefix>.holds` at a lane's start.

The lane's start has left its nonce behind everything that it, or a lane before it, has committed:
once the nonce is read, all holds are known, whatever an old leader may say about the end.
"""

import time
from collections.abc import Callable, Sequence

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.structs import ConsumerRecord

from streams import clients
from streams.delivery import NONCE_HEADER, START_KEY
from streams.ending import say_goodbye
from streams.errors import BrokerUnreachableError, MidgateError
from streams.holds import Held, read_hold
from streams.settings import KafkaSettings

POLL_MS = 100
STALLED_S_MAX = 30.0
STOP_S_MAX = 2.0


class HoldsUnreadableError(MidgateError):
    """The topic holds what no lane of this version writes. Guessing would lose or double events."""


async def read_holds(
    kafka: KafkaSettings,
    topic: str,
    partitions: Sequence[int],
    nonce: str,
    *,
    on_step: Callable[[], None],
) -> list[Held]:
    """Everything held in these partitions below the start with this nonce.

    Raises HoldsUnreadableError; BrokerUnreachableError when nothing comes for 30 s.
    """
    places = {TopicPartition(topic, number) for number in partitions}
    held: dict[tuple[int, bytes], Held] = {}
    consumer = clients.consumer(kafka)
    await clients.start(consumer, kafka)
    try:
        consumer.assign(places)
        for place, begin in (await consumer.beginning_offsets(places)).items():
            consumer.seek(place, begin)
        waiting, moved_at = set(places), time.monotonic()
        while waiting:
            on_step()
            fetched = await consumer.getmany(*waiting, timeout_ms=POLL_MS)
            for place, records in fetched.items():
                moved_at = time.monotonic()
                for record in records:
                    if _take(held, place.partition, record, nonce):
                        waiting.discard(place)
            if time.monotonic() - moved_at > STALLED_S_MAX:
                raise BrokerUnreachableError(
                    f"{topic} gave nothing to read for {STALLED_S_MAX:g} s",
                    hint="a broker has gone, or somebody's transaction is open on it",
                )
    except KafkaError as error:
        raise BrokerUnreachableError(
            f"{topic} cannot be read: {error!r}",
            hint="see whether the brokers are healthy, and who may read the topic",
        ) from error
    finally:
        await say_goodbye(consumer.stop(), STOP_S_MAX)
    return list(held.values())


def _take(
    held: dict[tuple[int, bytes], Held], partition: int, record: ConsumerRecord, nonce: str
) -> bool:
    """Take over one record; True for the start that is looked for."""
    key: bytes = record.key or b""
    if key == START_KEY:
        return bool(dict(record.headers).get(NONCE_HEADER) == nonce.encode())
    if record.value is None:
        held.pop((partition, key), None)
        return False
    try:
        found = read_hold(partition, key, record.value, record.timestamp, record.headers)
    except ValueError as error:
        raise HoldsUnreadableError(
            f"offset {record.offset} of {record.topic}-{partition}: {error}",
            hint="something else than this version of the router writes there",
        ) from error
    held[partition, key] = found
    return False
