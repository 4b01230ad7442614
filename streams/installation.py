"""The first records of an installation: log id, layout, and a first offset for every partition.

Shell. Everything else refuses an empty log and a missing offset, so that nobody ever guesses
either. Two that run at once both succeed: the first accepted record wins, and offsets are
committed under one transactional id, where the later one waits for the earlier.
"""

import asyncio
import random
import uuid
from collections.abc import Collection

from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaConnectionError, KafkaError
from aiokafka.structs import OffsetAndMetadata

from streams import clients
from streams.acknowledgement import encode_decided_at
from streams.changes import layout_change, log_start_change
from streams.ending import say_goodbye
from streams.errors import BrokerUnreachableError, ConfigurationError, WrongLogError
from streams.group_offsets import Offsets, await_offsets
from streams.log_appender import LogAppender, fresh_key
from streams.rights import Rights
from streams.settings import KafkaSettings, LayoutSettings
from streams.topics_client import TopicChange, TopicsAdmin
from streams.transactions import TransactionalProducer, TransactionFailedError

ACTOR = "topics apply"
# A lost answer is followed by reading the log again; each round appends at most one record.
ROUNDS_MAX = 5
READ_TIMEOUT_S = 30.0
APPEND_ATTEMPTS_MAX = 3
APPEND_TIMEOUT_S = 10.0
STOP_S_MAX = 4.0
COMMIT_ATTEMPTS_MAX = 5
COMMIT_TRANSACTION_TIMEOUT_MS = 10_000


async def begin_log(
    kafka: KafkaSettings, layout: LayoutSettings, *, dry_run: bool, absent: bool
) -> list[TopicChange]:
    """Append log id and layout where the log lacks them; compare the layout in force with ours.

    `absent`: the topic does not exist (a dry run before anything was made). Raises
    ConfigurationError when another layout is in force, WrongLogError when the topic holds
    something else than a log of ours.
    """
    topic = layout.topics.authorization
    found = Rights() if absent else await read_foundation(kafka, topic)
    appended: set[str] = set()
    if not dry_run:
        for _ in range(ROUNDS_MAX):
            missing = _next_record(found, layout)
            if missing is None:
                break
            name, value, change_id = missing
            await _append(kafka, topic, value, change_id)
            found = await read_foundation(kafka, topic)
            appended.add(name)
        else:
            raise WrongLogError(
                f"{topic} does not show what was appended to it",
                hint="a foreign transaction is open on it, or its first record is not ours:"
                " nothing but Midgate may write there",
            )
    refuse_other_layout(found, layout)
    shape = f"app id {layout.app_id}, {layout.partitions} partitions, {layout.lanes} lanes"
    log_id = found.log_id or "a fresh one"
    return [
        TopicChange("log id", _action("log" in appended or not found.log_id), log_id),
        TopicChange("layout", _action("layout" in appended or found.layout is None), shape),
    ]


def refuse_other_layout(found: Rights, layout: LayoutSettings) -> None:
    """Raise ConfigurationError when the layout in force is not the one of the settings."""
    in_force = found.layout
    if in_force is None:
        return
    pairs = (
        ("app id", "MIDGATE_APP_ID", in_force.app_id, layout.app_id),
        ("number of partitions", "MIDGATE_PARTITIONS", in_force.partitions, layout.partitions),
        ("number of lanes", "MIDGATE_LANES", in_force.lanes, layout.lanes),
    )
    for words, variable, theirs, ours in pairs:
        if theirs != ours:
            raise ConfigurationError(
                f"the {words} in force under prefix {layout.prefix} is {theirs}, not {ours}",
                hint=f"set {variable}={theirs}, or use another prefix",
            )


def _action(appended: bool) -> str:
    return "append" if appended else "none"


def _next_record(found: Rights, layout: LayoutSettings) -> tuple[str, bytes, bytes] | None:
    change_id = uuid.uuid4().bytes
    stamp = {"actor": ACTOR, "reason": "begin the installation", "change_id": change_id}
    if not found.log_id:
        return "log", log_start_change(str(uuid.uuid4()), **stamp), change_id
    if found.layout is None:
        value = layout_change(layout.app_id, layout.lanes, layout.partitions, **stamp)
        return "layout", value, change_id
    return None


async def _append(kafka: KafkaSettings, topic: str, value: bytes, change_id: bytes) -> None:
    """Append; after an unknown outcome again, as the change id counts once. Bounded."""
    appender = LogAppender(kafka, topic, metadata_max_age_ms=kafka.request_timeout_ms)
    try:
        for attempt in range(1, APPEND_ATTEMPTS_MAX + 1):
            try:
                await appender.append(fresh_key(change_id), value, timeout_s=APPEND_TIMEOUT_S)
                return
            except (KafkaError, OSError) as error:  # TimeoutError is an OSError
                if attempt == APPEND_ATTEMPTS_MAX:
                    raise BrokerUnreachableError(
                        f"nothing could be appended to {topic}: {error!r}",
                        hint="see whether the broker is healthy, then run it again",
                    ) from error
            await asyncio.sleep(attempt * random.uniform(0.1, 0.5))
    finally:
        await say_goodbye(appender.close(), STOP_S_MAX)


async def read_foundation(kafka: KafkaSettings, topic: str) -> Rights:
    """The rights as every follower takes them, read until the layout is known or the log ends.

    Only log id and layout of the result mean anything: what comes later is not in. Raises
    WrongLogError or UpgradeNeededError for a log that is not ours or newer.
    """
    partition = TopicPartition(topic, 0)
    consumer = clients.consumer(kafka)
    await clients.start(consumer, kafka)
    rights = Rights()
    try:
        async with asyncio.timeout(READ_TIMEOUT_S):
            consumer.assign([partition])
            end = (await consumer.end_offsets([partition]))[partition]
            consumer.seek(partition, 0)
            while rights.layout is None and await consumer.position(partition) < end:
                batches = await consumer.getmany(partition, timeout_ms=500)
                for record in batches.get(partition, []):
                    rights.apply(record.offset, record.timestamp, record.value)
                    if rights.layout is not None:
                        break
    except (KafkaError, TimeoutError) as error:
        raise BrokerUnreachableError(
            f"{topic} could not be read: {error!r}",
            hint="see whether the broker is healthy, then run it again",
        ) from error
    finally:
        await say_goodbye(consumer.stop(), STOP_S_MAX)
    return rights


async def commit_first_offsets(
    kafka: KafkaSettings, layout: LayoutSettings, *, dry_run: bool, absent: bool
) -> list[TopicChange]:
    """Commit the log start of every raw partition that has no committed offset yet.

    Why in a transaction: between reading "none" and committing, another run and then a worker
    could commit; ours would send the worker back to the start. A transactional id fences the
    other run, and opening it waits until that run's commit is settled.
    """
    everything = {
        TopicPartition(layout.topics.raw, partition) for partition in range(layout.partitions)
    }
    missing = set(everything)
    if not absent:
        missing -= set(await committed_offsets(kafka, layout.router_group, everything))
    name = f"offsets of {layout.router_group}"
    if not missing:
        return [TopicChange(name, "none", f"{len(everything)} partitions")]
    change = TopicChange(name, "commit", f"first offset of {len(missing)} partitions")
    if dry_run:
        return [change]
    for attempt in range(1, COMMIT_ATTEMPTS_MAX + 1):
        try:
            await _commit_missing(kafka, layout, everything)
            break
        except TransactionFailedError as error:
            if attempt == COMMIT_ATTEMPTS_MAX:
                raise BrokerUnreachableError(
                    f"the {name} could not be committed: {error}",
                    hint="see whether the broker is healthy, then run it again",
                ) from error
            # Two that fence each other in step would never end.
            await asyncio.sleep(attempt * random.uniform(0.1, 0.5))
    return [change]


async def committed_offsets(
    kafka: KafkaSettings, group: str, partitions: Collection[TopicPartition]
) -> Offsets:
    """Committed offsets of a group, without those that have none.

    Not by confluent-kafka: its ListConsumerGroupOffsets crashes the process when the coordinator
    is still loading, as on every new cluster. Raises BrokerUnreachableError.
    """
    client = AIOKafkaClient(**clients.connection(kafka))
    try:
        await client.bootstrap()
        return await await_offsets(
            client, group, partitions, lambda offsets: True, timeout_s=READ_TIMEOUT_S
        )
    except KafkaConnectionError as error:
        raise BrokerUnreachableError(
            f"no broker answers at {kafka.bootstrap}", hint=clients.ADDRESS_HINT
        ) from error
    finally:
        await say_goodbye(client.close(), STOP_S_MAX)


async def _commit_missing(
    kafka: KafkaSettings, layout: LayoutSettings, everything: Collection[TopicPartition]
) -> None:
    raw, group = layout.topics.raw, layout.router_group
    producer = await TransactionalProducer.open(
        kafka,
        f"{layout.app_id}-apply",
        transaction_timeout_ms=COMMIT_TRANSACTION_TIMEOUT_MS,
        topics=[raw],
    )
    try:
        done = await await_offsets(
            producer.client, group, everything, lambda offsets: True, timeout_s=READ_TIMEOUT_S
        )
        missing = [tp.partition for tp in everything if tp not in done]
        await _refuse_lost_offsets(kafka, layout, missing)
        starts = await asyncio.to_thread(TopicsAdmin(kafka).start_offsets, raw, missing)
        if starts:
            await producer.begin()
            offsets = {
                TopicPartition(raw, partition): OffsetAndMetadata(offset, encode_decided_at(0))
                for partition, offset in starts.items()
            }
            await producer.send_offsets(offsets, group)
            await producer.commit()
            # The marker that shows them to readers is written after the commit is answered.
            await await_offsets(
                producer.client,
                group,
                everything,
                lambda found: len(found) == len(everything),
                timeout_s=READ_TIMEOUT_S,
            )
    finally:
        await producer.close()


async def _refuse_lost_offsets(
    kafka: KafkaSettings, layout: LayoutSettings, missing: list[int]
) -> None:
    """An offset missing where events were routed before is lost, not absent: going back to the
    start would deliver everything again."""
    ledger = layout.topics.ledger
    ends = await asyncio.to_thread(TopicsAdmin(kafka).end_offsets, ledger, missing)
    lost = sorted(partition for partition, end in ends.items() if end > 0)
    if lost:
        raise WrongLogError(
            f"group {layout.router_group} has lost its offset of {layout.topics.raw}-{lost[0]},"
            " though the ledger shows that events of it were routed",
            hint="offsets expire after 7 days without a worker; commit `raw_next` of the"
            " partition's last ledger entry by hand before going on",
        )
