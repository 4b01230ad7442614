"""Questions about one log to the broker that leads it: where it ends, how it begins, who holds it.

A client of its own: a broker answers one connection's requests in order, and a consumer's waits
half a second for data. The high watermark comes from ListOffsets, not from a fetch: a new leader
that does not know it yet says so here (OFFSET_NOT_AVAILABLE), where a fetch names an old one.
"""

import asyncio
from dataclasses import dataclass
from typing import Any

import structlog
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import (
    KafkaError,
    LeaderNotAvailableError,
    NotLeaderForPartitionError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.offset import OffsetRequest
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import TopicPartition

from streams import clients
from streams.describe_producers import OpenTransaction, open_transactions
from streams.errors import WrongLogError
from streams.settings import KafkaSettings

log = structlog.get_logger(__name__)

CLOSE_S_MAX = 1.0
LEADER_PAUSE_S = 0.1
READ_UNCOMMITTED, READ_COMMITTED = 0, 1
# Which end counts as the end: the high watermark.
END_ISOLATION = READ_UNCOMMITTED
LATEST = -1
OFFSET_OUT_OF_RANGE = 1
# Right after a change of leader, until the new one knows how far the old one had committed.
OFFSET_NOT_AVAILABLE = 78
# A broker returns the first batch whole, however small the limit; it is one record, or as many
# as compaction left together.
FIRST_BATCH_BYTES = 1


@dataclass(frozen=True, slots=True)
class LogEnd:
    """What a broker said about a log; `start` is the first record's value, None when empty."""

    high_watermark: int
    start: bytes | None


class LogClient:
    """Asks the leader of partition 0 of `topic`. Errors are aiokafka's; the caller asks again."""

    def __init__(self, kafka: KafkaSettings, topic: str, *, metadata_max_age_ms: int) -> None:
        self._partition = TopicPartition(topic, 0)
        self._client = AIOKafkaClient(
            **clients.connection(kafka), metadata_max_age_ms=metadata_max_age_ms
        )

    async def open(self) -> None:
        """Connect; raises KafkaConnectionError when no broker answers."""
        await self._client.bootstrap()
        await self._client.set_topics([self._partition.topic])

    async def close(self) -> None:
        """Close at once; what was not answered fails. A plain close waits to send the rest."""
        for connection in self._client._conns.values():
            if connection._writer is not None:
                connection._writer.transport.abort()
        try:
            async with asyncio.timeout(CLOSE_S_MAX):
                await self._client.close()
        except TimeoutError:
            log.warning("log_client_not_closed", topic=self._partition.topic)

    async def end(self) -> LogEnd:
        """The high watermark, then the first record: a log made anew in between is noticed.

        Raises UnknownTopicOrPartitionError when the topic does not exist, WrongLogError when it
        does not begin at offset 0.
        """
        high_watermark = await self._offset(END_ISOLATION)
        start = await self._first_value() if high_watermark else None
        return LogEnd(high_watermark, start)

    async def first_end(self) -> LogEnd:
        """`end`, asked again while nobody leads the log, as right after a start of the broker.
        Under a time limit of the caller's."""
        while True:
            try:
                return await self.end()
            except (LeaderNotAvailableError, NotLeaderForPartitionError):
                await asyncio.sleep(LEADER_PAUSE_S)

    async def last_stable_offset(self) -> int:
        """The offset below which every transaction has ended."""
        return await self._offset(READ_COMMITTED)

    async def open_transactions(self) -> list[OpenTransaction]:
        """Who has a transaction open on the log, oldest first."""
        return await open_transactions(
            self._client, await self._leader(), self._partition.topic, self._partition.partition
        )

    async def _leader(self) -> int:
        """Node that leads the partition by the present metadata, which is updated once if not."""
        for _ in range(2):
            leader = self._client.cluster.leader_for_partition(self._partition)
            if leader is not None and leader != -1:
                return int(leader)
            await self._client.force_metadata_update()
        cluster = self._client.cluster
        if self._partition.topic in cluster.unauthorized_topics:
            raise TopicAuthorizationFailedError(self._partition.topic)
        if cluster.partitions_for_topic(self._partition.topic) is None and cluster.brokers():
            raise UnknownTopicOrPartitionError(self._partition.topic)
        raise LeaderNotAvailableError(self._partition.topic)

    async def _offset(self, isolation_level: int) -> int:
        question = [(self._partition.partition, LATEST)]
        request = OffsetRequest(-1, isolation_level, [(self._partition.topic, question)])
        response = await self.send(request)
        _, partitions = response.topics[0]
        _, error_code, _, offset = partitions[0]
        if error_code == OFFSET_NOT_AVAILABLE:
            # aiokafka has no name for it and would not ask again.
            raise LeaderNotAvailableError(f"{self._partition.topic}: offset not available yet")
        self.check(error_code)
        return int(offset)

    async def _first_value(self) -> bytes:
        """Value of the record at offset 0, as every reader of the log begins with it."""
        wanted = [(self._partition.partition, 0, FIRST_BATCH_BYTES)]
        request = FetchRequest(
            0, 0, FIRST_BATCH_BYTES, READ_UNCOMMITTED, [(self._partition.topic, wanted)]
        )
        response = await self.send(request)
        _, partitions = response.topics[0]
        _, error_code, *_, records = partitions[0]
        if error_code == OFFSET_OUT_OF_RANGE:
            raise WrongLogError(f"{self._partition.topic} does not begin at offset 0")
        self.check(error_code)
        batches = MemoryRecords(records)
        batch = batches.next_batch() if batches.has_next() else None
        first = next(iter(batch), None) if batch is not None else None
        if first is None or first.offset != 0 or first.value is None:
            raise WrongLogError(f"{self._partition.topic} has no record at offset 0")
        return bytes(first.value)

    async def send(self, request: Any) -> Any:
        """Send one request to the log's leader and return the answer."""
        try:
            return await self._client.send(await self._leader(), request)
        except KafkaError as error:
            # The next question goes where the metadata then points.
            if error.invalid_metadata or error.retriable:
                self._client.force_metadata_update()
            raise

    def check(self, error_code: int) -> None:
        """Raise the error an answer carries, if any."""
        if error_code == 0:
            return
        error = for_code(error_code)
        self._client.force_metadata_update()
        raise error(self._partition.topic)
