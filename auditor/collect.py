"""[shell] Reads everything there is, with a plain consumer of its own.

Reads `read_committed`, from the first retained offset to the end, and holds all of it in memory:
about 1.5 kB a record. The log comes first, as it names the tenants. A partition whose last stable
offset lies below its high watermark has a transaction open; it is waited for, then reported.
The answer is exact for a system at rest; on a busy one, what is in flight shows as a finding.
"""

import asyncio
import time
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from auditor.contents import Contents, Partition, Record, Topic
from auditor.findings import Findings
from auditor.log import Replay

SETTLE_S_MAX = 30.0
READ_S_MAX = 600.0
POLL_MS = 500
RECORDS_A_POLL_MAX = 5_000
PARTITIONS_AT_ONCE_MAX = 200


class CollectError(Exception):
    """The topics could not be read whole; the message says which."""


async def collect(
    kafka_options: dict[str, Any], prefix: str, app_id: str, *, settle_s: float = SETTLE_S_MAX
) -> Contents:
    """Read every topic of one installation.

    `kafka_options` go to aiokafka as they are (bootstrap_servers, security ...). Raises
    CollectError when a topic that must exist does not, or reading takes longer than READ_S_MAX.
    """
    committed = AIOKafkaConsumer(
        **kafka_options,
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="none",
    )
    uncommitted = AIOKafkaConsumer(
        **kafka_options,
        isolation_level="read_uncommitted",
        enable_auto_commit=False,
        auto_offset_reset="none",
    )
    await committed.start()
    try:
        await uncommitted.start()
        try:
            async with asyncio.timeout(READ_S_MAX):
                return await _collect(committed, uncommitted, prefix, app_id, settle_s)
        except TimeoutError as error:
            raise CollectError(f"reading took longer than {READ_S_MAX:.0f} s") from error
        finally:
            await uncommitted.stop()
    finally:
        await committed.stop()


async def _collect(
    committed: AIOKafkaConsumer,
    uncommitted: AIOKafkaConsumer,
    prefix: str,
    app_id: str,
    settle_s: float,
) -> Contents:
    known = await committed.topics()
    names = [f"{prefix}.{name}" for name in ("authorization", "raw", "ledger", "quarantine")]
    absent = [name for name in names if name not in known]
    if absent:
        raise CollectError(f"no such topic: {', '.join(absent)}")
    log = await _read(committed, uncommitted, names[:1], settle_s)
    replay = Replay(log[names[0]])
    replay.advance(replay.end, Findings())
    due = {tenant["topic"] for tenant in replay.rights.tables.tenants.values()}
    tenants = due | {name for name in known if name.startswith(f"{prefix}.tenant.")}
    read = await _read(
        committed, uncommitted, names[1:] + sorted(name for name in tenants if name in known),
        settle_s,
    )  # fmt: skip
    return Contents(
        prefix,
        app_id,
        log[names[0]],
        read[names[1]],
        read[names[2]],
        read[names[3]],
        {name: read.get(name) or Topic(name, exists=False) for name in sorted(tenants)},
    )


async def _read(
    committed: AIOKafkaConsumer, uncommitted: AIOKafkaConsumer, names: list[str], settle_s: float
) -> dict[str, Topic]:
    """All committed records of the topics, as far as they went when the read began."""
    topics = {name: Topic(name) for name in names}
    places = [
        TopicPartition(name, number)
        for name in names
        for number in sorted(committed.partitions_for_topic(name) or ())
    ]
    partitions = {place: Partition() for place in places}
    for place, partition in partitions.items():
        topics[place.topic].partitions[place.partition] = partition
    await _measure(committed, uncommitted, partitions, settle_s)
    for start in range(0, len(places), PARTITIONS_AT_ONCE_MAX):
        some = places[start : start + PARTITIONS_AT_ONCE_MAX]
        await _read_to_end(committed, {place: partitions[place] for place in some})
    return topics


async def _measure(
    committed: AIOKafkaConsumer,
    uncommitted: AIOKafkaConsumer,
    partitions: dict[TopicPartition, Partition],
    settle_s: float,
) -> None:
    """Find begin and end of each partition, once no transaction is open or the wait is over."""
    places = list(partitions)
    deadline = time.monotonic() + settle_s
    while True:
        marks = await uncommitted.end_offsets(places)
        ends = await committed.end_offsets(places)
        if all(ends[place] >= marks[place] for place in places) or time.monotonic() > deadline:
            break
        await asyncio.sleep(0.1)
    begins = await committed.beginning_offsets(places)
    for place, partition in partitions.items():
        partition.begin = begins[place]
        partition.end = ends[place]
        partition.high_watermark = max(marks[place], ends[place])


async def _read_to_end(
    consumer: AIOKafkaConsumer, partitions: dict[TopicPartition, Partition]
) -> None:
    waiting = {place for place, one in partitions.items() if one.begin < one.end}
    if not waiting:
        return
    consumer.assign(list(waiting))
    for place in waiting:
        consumer.seek(place, partitions[place].begin)
    while waiting:
        batches = await consumer.getmany(
            *waiting, timeout_ms=POLL_MS, max_records=RECORDS_A_POLL_MAX
        )
        for place, messages in batches.items():
            end = partitions[place].end
            partitions[place].records += [
                Record(
                    message.partition,
                    message.offset,
                    message.timestamp,
                    message.key,
                    message.value,
                    tuple(message.headers),
                    message.timestamp_type == 1,
                )
                for message in messages
                if message.offset < end
            ]
        # The position passes control records, which are never handed out.
        reached = [
            place for place in waiting if await consumer.position(place) >= partitions[place].end
        ]
        for place in reached:
            consumer.pause(place)
        waiting.difference_update(reached)
    consumer.unsubscribe()
