"""Appends to partition 0 of one log: idempotent, acks=all, and nothing left running behind.

aiokafka's own idempotent producer repeats a batch for ever in the background, also after its
caller gave up, and cannot be stopped in a stated time. This one has no background: every append
is one request, with producer id and sequence number, whose outcome its caller learns.

An append that fails in any way has an *unknown outcome*: it may stand in the log, or be on its
way there. The producer id is given up with it, and the connection it went by is closed.
"""

import asyncio
import secrets
import time
from collections.abc import Iterator, Sequence
from typing import Any

from aiokafka.errors import KafkaError, for_code
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.protocol.transaction import InitProducerIdRequest
from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder

from streams.log_end import LogClient
from streams.settings import KafkaSettings

MAGIC = 2
ALL_IN_SYNC_REPLICAS = -1
# Far below `max.message.bytes` (1 MiB), whatever the compression makes of it.
BATCH_BYTES = 512 * 1024
# The broker remembers five batches of a producer id: more in flight could not be told apart.
BATCHES_IN_FLIGHT = 5
NO_PRODUCER_ID = -1
PRODUCER_ID_PAUSE_S = 0.05

Record = tuple[bytes, bytes]
"""Key and value."""


def fresh_key(change_id: bytes) -> bytes:
    """A key that no other append has: compaction would take the first of two for outdated."""
    return f"{change_id.hex()}-{secrets.token_hex(8)}".encode()


class LogAppender:
    """One idempotent writer of one log. Connects when it is first needed.

    Raises from every method: KafkaError, OSError or TimeoutError, after which the next call
    starts afresh. `clock_offset_s` is this machine's clock minus the broker's at the last append,
    uncertain by half the time on the way; NaN before the first, and without LogAppendTime.
    """

    def __init__(self, kafka: KafkaSettings, topic: str, *, metadata_max_age_ms: int) -> None:
        self._kafka = kafka
        self._topic = topic
        self._metadata_max_age_ms = metadata_max_age_ms
        self._log: LogClient | None = None
        self._producer_id = NO_PRODUCER_ID
        self._producer_epoch = 0
        self._sequence = 0
        self.clock_offset_s = float("nan")
        self._lock = asyncio.Lock()

    async def append(self, key: bytes, value: bytes, *, timeout_s: float) -> int:
        """Append one record and return its offset."""
        return (await self.append_many([(key, value)], timeout_s=timeout_s))[0]

    async def append_many(self, records: Sequence[Record], *, timeout_s: float) -> list[int]:
        """Append in order; returns the base offset of each batch it took, at least one."""
        async with asyncio.timeout(timeout_s), self._lock:
            try:
                return await self._append(records)
            except BaseException:
                await self._give_up()
                raise

    async def close(self) -> None:
        """Close the connection; what was not answered yet has an unknown outcome."""
        async with self._lock:
            await self._give_up()

    async def _append(self, records: Sequence[Record]) -> list[int]:
        log = await self._ready()
        offsets: list[int] = []
        flying: list[asyncio.Task[int]] = []
        try:
            for batch in self._batches(records):
                flying.append(asyncio.create_task(self._send(log, batch)))
                # Let the request go out: requests leave in the order of their sequence numbers.
                await asyncio.sleep(0)
                if len(flying) == BATCHES_IN_FLIGHT:
                    offsets.append(await flying.pop(0))
            while flying:
                offsets.append(await flying.pop(0))
        finally:
            for task in flying:
                task.cancel()
            await asyncio.gather(*flying, return_exceptions=True)
        return offsets

    def _batches(self, records: Sequence[Record]) -> Iterator[bytes]:
        """Record batches, each with the sequence numbers that follow on the one before."""
        position = 0
        while position < len(records):
            builder = DefaultRecordBatchBuilder(
                MAGIC,
                DefaultRecordBatch.CODEC_LZ4,
                is_transactional=0,
                producer_id=self._producer_id,
                producer_epoch=self._producer_epoch,
                base_sequence=self._sequence,
                batch_size=BATCH_BYTES,
            )
            count = 0
            while position < len(records):
                key, value = records[position]
                # Time 0: the topic stamps the time of the append itself (LogAppendTime).
                if builder.append(count, 0, key, value, []) is None:
                    break
                count += 1
                position += 1
            # Sequence numbers go round at 2**31, as Kafka's own do.
            self._sequence = (self._sequence + count) & 0x7FFFFFFF
            yield bytes(builder.build())

    async def _send(self, log: LogClient, batch: bytes) -> int:
        topics = [(self._topic, [(0, batch)])]
        request = ProduceRequest(None, ALL_IN_SYNC_REPLICAS, self._kafka.request_timeout_ms, topics)
        sent_at = time.time()
        response = await log.send(request)
        _, partitions = response.topics[0]
        _, error_code, offset, *more = partitions[0]
        log.check(error_code)
        # The time of the append, by the broker's clock; it lies between question and answer.
        if more and more[0] > 0:
            self.clock_offset_s = (sent_at + time.time()) / 2 - more[0] / 1000
        return int(offset)

    async def _ready(self) -> LogClient:
        """A connected client to the log's leader, with a producer id."""
        if self._log is None:
            self._log = LogClient(
                self._kafka, self._topic, metadata_max_age_ms=self._metadata_max_age_ms
            )
            await self._log.open()
        if self._producer_id == NO_PRODUCER_ID:
            await self._take_producer_id(self._log)
        return self._log

    async def _take_producer_id(self, log: LogClient) -> None:
        """A fresh broker has none to give for a moment: asked again within the caller's limit."""
        while True:
            response: Any = await log.send(InitProducerIdRequest(None, 0))
            if not response.error_code:
                break
            error: KafkaError = for_code(response.error_code)(self._topic)
            if not error.retriable:
                raise error
            await asyncio.sleep(PRODUCER_ID_PAUSE_S)
        self._producer_id = int(response.producer_id)
        self._producer_epoch = int(response.producer_epoch)
        self._sequence = 0

    async def _give_up(self) -> None:
        self._producer_id = NO_PRODUCER_ID
        log, self._log = self._log, None
        if log is not None:
            await log.close()
