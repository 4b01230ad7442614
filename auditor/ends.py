"""[shell] Which topics there are, and the ends up to which they are judged, while events flow.

The ends are taken once, in an order that makes the answer exact although nothing stands still.
One transaction places a batch's deliveries, its quarantine and its ledger entries, every record of
it is acknowledged before the commit, and it reads nothing of raw and log that was not committed.
So, with "end" for the high watermark, waited for until no transaction is open below it:

1. the ledger's last stable offset: the entries below it are *settled*;
2. the log's end, which holds every version the settled entries name, and so every tenant;
3. the ends of tenant topics and quarantine: all that the settled entries led to lies below them;
4. the ledger's end: it holds the entry of every record that lies below the ends of step 3. Of
   these later entries, what stands is judged, and what does not stand may still come;
5. the ends of raw, labels and log: they hold all that the entries were decided from.

A transaction that stays open longer than the wait is found, and what it may hide is not judged.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from auditor.contents import Contents, Partition, Scope, Topic
from auditor.findings import Findings
from auditor.kafka_records import AbsentError, CollectError, know_topics, only, reading
from auditor.log import Replay

SETTLE_PAUSE_S = 0.1
# An entry of the ledger is written after its raw was received, by another machine's clock.
LEDGER_BEFORE_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Clients:
    """What is asked; isolation is a property of a client, so there are two consumers."""

    options: dict[str, Any]
    admin: AIOKafkaAdminClient
    committed: AIOKafkaConsumer
    uncommitted: AIOKafkaConsumer
    settle_s: float


async def take_ends(
    kafka_options: dict[str, Any], prefix: str, app_id: str, scope: Scope, *, settle_s: float
) -> tuple[Contents, Replay]:
    """Every topic of one installation with its ends, and the log replayed to its end.

    The records of `Contents` are still to be read.

    Raises AbsentError when a topic that must exist, or the tenant asked for, does not.
    """
    async with _clients(kafka_options, settle_s) as clients:
        known = set(await clients.admin.list_topics())
        names = [f"{prefix}.{name}" for name in ("authorization", "raw", "ledger", "quarantine")]
        absent = [name for name in names if name not in known]
        if absent:
            raise AbsentError(f"no such topic: {', '.join(absent)}")
        log, raw, ledger, quarantine = [(await _describe(clients, [name]))[name] for name in names]
        labels = Topic(f"{prefix}.labels", exists=f"{prefix}.labels" in known)
        if labels.exists:
            labels = (await _describe(clients, [labels.name]))[labels.name]
        settled = await clients.committed.end_offsets(_places([ledger]))
        await _take(clients, [log])
        replay = await _to_the_end(clients, log, Replay(log))
        tenants = await _tenant_topics(clients, prefix, replay, scope)
        await _take(clients, [*tenants.values(), quarantine])
        await _take(clients, [ledger])
        for place, offset in settled.items():
            ledger.partitions[place.partition].settled = offset
        await _take(clients, [raw, labels, log])
        contents = Contents(prefix, app_id, log, raw, ledger, quarantine, tenants, scope, labels)
        await _take_begins(clients, contents)
        return contents, await _to_the_end(clients, log, replay)


@asynccontextmanager
async def _clients(kafka_options: dict[str, Any], settle_s: float) -> AsyncIterator[Clients]:
    async with AsyncExitStack() as stack:
        admin = AIOKafkaAdminClient(**kafka_options)
        stack.push_async_callback(admin.close)
        await admin.start()
        consumers = []
        for isolation in ("read_committed", "read_uncommitted"):
            consumer = AIOKafkaConsumer(
                **kafka_options,
                isolation_level=isolation,
                enable_auto_commit=False,
                auto_offset_reset="none",
            )
            stack.push_async_callback(consumer.stop)
            await consumer.start()
            consumers.append(consumer)
        committed, uncommitted = consumers
        yield Clients(kafka_options, admin, committed, uncommitted, settle_s)


async def _describe(clients: Clients, names: Iterable[str]) -> dict[str, Topic]:
    topics = {name: Topic(name) for name in names}
    if not topics:
        return topics
    for description in await clients.admin.describe_topics(list(topics)):
        topic = topics[description["topic"]]
        for one in description["partitions"]:
            topic.partitions[one["partition"]] = Partition()
        if not topic.partitions:
            raise CollectError(f"the broker names no partition of {topic.name}")
    return topics


async def _to_the_end(clients: Clients, log: Topic, replay: Replay) -> Replay:
    """Go on replaying, up to the end that was taken last."""
    places = _places([log])
    begins = await clients.committed.beginning_offsets(places)
    for place in places:
        partition = log.partitions[place.partition]
        partition.begin, partition.start = begins[place], replay.rights.version
    async with reading(clients.options, only(log)):
        replay.go_on(log)
        await asyncio.to_thread(replay.advance, replay.end, Findings())
    replay.let_go()
    for partition in log.partitions.values():
        partition.start = 0
    return replay


async def _tenant_topics(
    clients: Clients, prefix: str, replay: Replay, scope: Scope
) -> dict[str, Topic]:
    """The topics of all tenants in the log, and those that look as if they were a tenant's."""
    tenants = replay.rights.tables.tenants
    if scope.tenant:
        if scope.tenant not in tenants:
            raise AbsentError(f"no such tenant: {scope.tenant}")
        due = {tenants[scope.tenant]["topic"]}
    else:
        due = {tenant["topic"] for tenant in tenants.values()}
    known = set(await clients.admin.list_topics())
    named = {name for name in known if name.startswith(f"{prefix}.tenant.")}
    wanted = due if scope.tenant else due | named
    found = await _describe(clients, sorted(wanted & known))
    return {name: found.get(name) or Topic(name, exists=False) for name in sorted(wanted)}


async def _take(clients: Clients, topics: list[Topic]) -> None:
    """Take the ends of these topics, once nothing is open below them or the wait is over."""
    places = _places(topics)
    for consumer in (clients.committed, clients.uncommitted):
        await know_topics(consumer, {place.topic for place in places})
    marks = await clients.uncommitted.end_offsets(places)
    deadline = time.monotonic() + clients.settle_s
    while True:
        stable = await clients.committed.end_offsets(places)
        if all(stable[place] >= marks[place] for place in places) or time.monotonic() > deadline:
            break
        await asyncio.sleep(SETTLE_PAUSE_S)
    by_name = {topic.name: topic for topic in topics}
    for place in places:
        partition = by_name[place.topic].partitions[place.partition]
        partition.end = min(stable[place], marks[place])
        partition.high_watermark = marks[place]


async def _take_begins(clients: Clients, contents: Contents) -> None:
    """Where each partition begins, and from where it is read if not all is asked for."""
    by_name = {topic.name: topic for topic in contents.all_topics()}
    places = _places(by_name.values())
    await know_topics(clients.committed, {place.topic for place in places})
    begins = await clients.committed.beginning_offsets(places)
    for place in places:
        partition = by_name[place.topic].partitions[place.partition]
        partition.begin = min(begins[place], partition.end)
    since = contents.scope.since_ms
    if since is None:
        return
    await _start_at(clients, [contents.ledger], max(0, since - LEDGER_BEFORE_MS))
    await _start_at(clients, [contents.raw, contents.quarantine, *contents.tenants.values()], since)


async def _start_at(clients: Clients, topics: list[Topic], instant_ms: int) -> None:
    by_name = {topic.name: topic for topic in topics}
    places = _places(topics)
    found = await clients.committed.offsets_for_times(dict.fromkeys(places, instant_ms))
    for place in places:
        partition, first = by_name[place.topic].partitions[place.partition], found[place]
        partition.start = partition.end if first is None else first.offset


def _places(topics: Iterable[Topic]) -> list[TopicPartition]:
    return [
        TopicPartition(topic.name, number)
        for topic in topics
        for number in sorted(topic.partitions)
    ]
