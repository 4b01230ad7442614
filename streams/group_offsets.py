"""Committed offsets of a group, read through its coordinator.

An offset read right after a transactional commit was old in 4 of 100 reads: the marker that makes
it visible is written after EndTxn is answered, and a deposed coordinator can answer, too. So
whoever needs *the* offset first commits something of its own and reads until it is there.
"""

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import aiokafka.errors
from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.errors import KafkaError
from aiokafka.protocol.commit import OffsetFetchRequest
from aiokafka.structs import OffsetAndMetadata

from streams.errors import BrokerUnreachableError

# The marker usually takes one to a few milliseconds.
POLL_S_FIRST = 0.002
POLL_S_MAX = 0.05

Offsets = dict[TopicPartition, OffsetAndMetadata]


async def fetch_offsets(
    client: AIOKafkaClient, group: str, partitions: Iterable[TopicPartition]
) -> Offsets:
    """Committed offset and metadata of each partition; those without one are left out.

    Raises KafkaError for any error code, also of a single partition. Transactional offsets that
    are not decided yet are not in the answer: it gives the last decided ones.
    """
    by_topic: dict[str, list[int]] = defaultdict(list)
    for topic, partition in partitions:
        by_topic[topic].append(partition)
    node_id = await client.coordinator_lookup(CoordinationType.GROUP, group)
    answer: Any = await client.send(node_id, OffsetFetchRequest(group, list(by_topic.items())))
    _check(answer.error_code, group)
    offsets: Offsets = {}
    for topic, rows in answer.topics:
        for partition, offset, metadata, code in rows:
            _check(code, f"{group}, {topic}-{partition}")
            if offset >= 0:
                offsets[TopicPartition(topic, partition)] = OffsetAndMetadata(offset, metadata)
    return offsets


async def await_offsets(
    client: AIOKafkaClient,
    group: str,
    partitions: Iterable[TopicPartition],
    seen: Callable[[Offsets], bool],
    *,
    timeout_s: float,
) -> Offsets:
    """Fetch until `seen` accepts an answer; that same answer is returned, all of it.

    Raises BrokerUnreachableError after `timeout_s`. Errors of single fetches (a coordinator that
    moves) are repeated within it.
    """
    wanted = tuple(partitions)
    problem: Exception | None = None
    delay_s = POLL_S_FIRST
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                try:
                    offsets = await fetch_offsets(client, group, wanted)
                    problem = None
                    if seen(offsets):
                        return offsets
                except KafkaError as error:
                    problem = error
                await asyncio.sleep(delay_s * random.uniform(0.75, 1.25))
                delay_s = min(delay_s * 2, POLL_S_MAX)
    except TimeoutError as error:
        raise BrokerUnreachableError(
            f"group {group} did not show a committed offset within {timeout_s:g} s"
            + (f": {problem!r}" if problem else ""),
            hint="look at the group's coordinator",
        ) from error


def _check(code: int, where: str) -> None:
    if code != 0:
        raise aiokafka.errors.for_code(code)(f"OffsetFetch of {where}")
