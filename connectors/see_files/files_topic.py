"""What `<prefix>.files` says about one file: how far which run has taken it in.

Read `read_committed`, up to a high watermark taken before: another file's open transaction hides
what stands above it, so the reader waits for it, within a bound, and then names its producer.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from schemas.codec import decode
from streams import clients
from streams.errors import MidgateError
from streams.log_end import LogClient
from streams.settings import KafkaSettings

NONCE_HEADER = "mg-nonce"
POLL_MS = 200
STOP_S_MAX = 1.0
METADATA_MAX_AGE_MS = 60_000


class FilesTopicHeldError(MidgateError):
    """Somebody's open transaction on the files topic did not end in time."""


@dataclass(frozen=True, slots=True)
class FileRecord:
    """One `IngestedFile` of our file; `nonce` is set on the record a start writes."""

    offset: int
    state: str
    lines_done: int
    raw: int
    quarantined: int
    run: str
    by: str
    nonce: bytes


class FilesTopic:
    """Context manager; reads forwards only. `last` is the newest record of the file read so far,
    `previous` the one before it."""

    def __init__(
        self, kafka: KafkaSettings, topic: str, content_sha256: str, *, held_s_max: float
    ) -> None:
        self._kafka = kafka
        self._partition = TopicPartition(topic, 0)
        self._key = content_sha256.encode()
        self._held_s_max = held_s_max
        self._consumer: AIOKafkaConsumer | None = None
        self.last: FileRecord | None = None
        self.previous: FileRecord | None = None

    async def __aenter__(self) -> Self:
        self._consumer = clients.consumer(self._kafka)
        try:
            await clients.start(self._consumer, self._kafka)
            self._consumer.assign([self._partition])
            start = await self._consumer.beginning_offsets([self._partition])
            self._consumer.seek(self._partition, start[self._partition])
        except BaseException:
            await _stop(self._consumer)
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._consumer is not None:
            await _stop(self._consumer)

    async def high_watermark(self) -> int:
        """End of the topic, open transactions included."""
        # A consumer's questions carry its isolation level, so this one is asked by another.
        client = clients.consumer(self._kafka, isolation_level="read_uncommitted")
        try:
            await clients.start(client, self._kafka)
            ends = await client.end_offsets([self._partition])
            return int(ends[self._partition])
        finally:
            await _stop(client)

    async def read_to(self, mark: int) -> None:
        """Read all that stands below `mark`."""
        await self._read(lambda position: position >= mark)

    async def read_until_nonce(self, nonce: bytes) -> None:
        """Read until the record with this nonce has come, and not further."""
        await self._read(lambda _: self.last is not None and self.last.nonce == nonce)

    async def _read(self, is_enough: Callable[[int], bool]) -> None:
        consumer = self._consumer
        assert consumer is not None, "used outside its context"
        try:
            async with asyncio.timeout(self._held_s_max):
                while not is_enough(await consumer.position(self._partition)):
                    batches = await consumer.getmany(self._partition, timeout_ms=POLL_MS)
                    for record in batches.get(self._partition, ()):
                        self._take(record)
        except TimeoutError:
            raise FilesTopicHeldError(
                f"{self._partition.topic} could not be read to its end within"
                f" {self._held_s_max:.0f} s: {await self._holders()}",
                hint="another ingest may be frozen or dead; end it and try again",
            ) from None

    def _take(self, record: Any) -> None:
        if record.key != self._key or record.value is None:
            return
        try:
            name, content = decode(record.value)
        except ValueError as error:
            name, content = str(error), {}
        if name != "ingested_file":
            raise MidgateError(
                f"{self._partition.topic} holds at offset {record.offset}: {name}",
                hint="a newer version, or something else, writes to this topic",
            )
        self.previous, self.last = (
            self.last,
            FileRecord(
                offset=record.offset,
                state=content["state"],
                lines_done=content["lines_done"],
                raw=content["raw"],
                quarantined=content["quarantined"],
                run=content["run"],
                by=content["by"],
                nonce=dict(record.headers).get(NONCE_HEADER, b""),
            ),
        )

    async def _holders(self) -> str:
        log = LogClient(self._kafka, self._partition.topic, metadata_max_age_ms=METADATA_MAX_AGE_MS)
        try:
            await log.open()
            found = await log.open_transactions()
        except (KafkaError, OSError) as error:
            return f"the broker does not say who holds it ({error!r})"
        finally:
            await log.close()
        if not found:
            return "no transaction is open on it any more"
        first = found[0]
        return (
            f"producer {first.producer_id} (epoch {first.producer_epoch}) has a transaction open"
            f" since offset {first.start_offset}"
        )


async def _stop(consumer: AIOKafkaConsumer) -> None:
    try:
        async with asyncio.timeout(STOP_S_MAX):
            await consumer.stop()
    except TimeoutError:
        # Its connections die with the process; nothing of ours waits for them.
        return
