"""[shell] Reads everything there is, with a plain consumer of its own.

Reads `read_committed`, from the first retained offset to the end, and holds all of it in memory:
about 1.5 kB a record. The log comes first, as it names the tenants. A partition whose last stable
offset lies below its high watermark has a transaction open; it is waited for, then reported.
The answer is exact for a system at rest; on a busy one, what is in flight shows as a finding.
"""

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from auditor.contents import Contents, Partition, Record, Topic
from auditor.findings import Findings
from auditor.log import Replay

SETTLE_S_MAX = 30.0
READ_S_MAX = 600.0
POLL_MS = 500
RECORDS_A_POLL_MAX = 5_000
PARTITIONS_AT_ONCE_MAX = 200


@dataclass(frozen=True, slots=True)
class Clients:
    """What is read with; isolation is a property of a client, so there are two consumers."""

    admin: AIOKafkaAdminClient
    committed: AIOKafkaConsumer
    uncommitted: AIOKafkaConsumer


class CollectError(Exception):
    """The topics could not be read whole; the message says which."""


async def collect(
    kafka_options: dict[str, Any], prefix: str, app_id: str, *, settle_s: float = SETTLE_S_MAX
) -> Contents:
    """Read every topic of one installation.

    `kafka_options` go to aiokafka as they are (bootstrap_servers, security ...). Raises
    CollectError when a topic that must exist does not, or reading takes longer than READ_S_MAX.
    """
    async with AsyncExitStack() as stack:
        clients = Clients(
            AIOKafkaAdminClient(**kafka_options),
            AIOKafkaConsumer(
                **kafka_options,
                isolation_level="read_committed",
                enable_auto_commit=False,
                auto_offset_reset="none",
            ),
            AIOKafkaConsumer(
                **kafka_options,
                isolation_level="read_uncommitted",
                enable_auto_commit=False,
                auto_offset_reset="none",
            ),
        )
        stack.push_async_callback(clients.admin.close)
        await clients.admin.start()
        for consumer in (clients.committed, clients.uncommitted):
            stack.push_async_callback(consumer.stop)
            await consumer.start()
        try:
            async with asyncio.timeout(READ_S_MAX):
                return await _collect(clients, prefix, app_id, settle_s)
        except TimeoutError as error:
            raise CollectError(f"reading took longer than {READ_S_MAX:.0f} s") from error


async def _collect(clients: Clients, prefix: str, app_id: str, settle_s: float) -> Contents:
    known = set(await clients.admin.list_topics())
    names = [f"{prefix}.{name}" for name in ("authorization", "raw", "ledger", "quarantine")]
    absent = [name for name in names if name not in known]
    if absent:
        raise CollectError(f"no such topic: {', '.join(absent)}")
    log = await _read(clients, names[:1], settle_s)
    replay = Replay(log[names[0]])
    replay.advance(replay.end, Findings())
    due = {tenant["topic"] for tenant in replay.rights.tables.tenants.values()}
    tenants = due | {name for name in known if name.startswith(f"{prefix}.tenant.")}
    read = await _read(clients, names[1:] + sorted(tenants & known), settle_s)
    return Contents(
        prefix,
        app_id,
        log[names[0]],
        read[names[1]],
        read[names[2]],
        read[names[3]],
        {name: read.get(name) or Topic(name, exists=False) for name in sorted(tenants)},
    )


async def _read(clients: Clients, names: list[str], settle_s: float) -> dict[str, Topic]:
    """All committed records of the topics, as far as they went when the read began."""
    topics = {name: Topic(name) for name in names}
    partitions: dict[TopicPartition, Partition] = {}
    for description in await clients.admin.describe_topics(names):
        topic = topics[description["topic"]]
        for one in description["partitions"]:
            topic.partitions[one["partition"]] = Partition()
        if not topic.partitions:
            raise CollectError(f"the broker names no partition of {topic.name}")
        for number, partition in sorted(topic.partitions.items()):
            partitions[TopicPartition(topic.name, number)] = partition
    await _measure(clients, partitions, settle_s)
    places = list(partitions)
    for start in range(0, len(places), PARTITIONS_AT_ONCE_MAX):
        some = places[start : start + PARTITIONS_AT_ONCE_MAX]
        await _read_to_end(clients.committed, {place: partitions[place] for place in some})
    return topics


async def _measure(
    clients: Clients,
    partitions: dict[TopicPartition, Partition],
    settle_s: float,
) -> None:
    """Find begin and end of each partition, once no transaction is open or the wait is over."""
    places = list(partitions)
    deadline = time.monotonic() + settle_s
    while True:
        marks = await clients.uncommitted.end_offsets(places)
        ends = await clients.committed.end_offsets(places)
        if all(ends[place] >= marks[place] for place in places) or time.monotonic() > deadline:
            break
        await asyncio.sleep(0.1)
    begins = await clients.committed.beginning_offsets(places)
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
