"""What `<prefix>.files` says about one file: how far it has been taken in, and by which run.

Read `read_committed`, up to a high watermark taken before: another file's open transaction hides
what stands above it, so the reader waits for it, within a bound, and then names its producer.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from connectors.see_files.file_progress import (
    BY_HEADER,
    NONCE_HEADER,
    RUN_HEADER,
    FileProgress,
    claim_key,
    progress_key,
    read_progress,
)
from streams import clients
from streams.errors import MidgateError
from streams.log_end import LogClient
from streams.settings import KafkaSettings

POLL_MS = 200
STOP_S_MAX = 1.0
METADATA_MAX_AGE_MS = 60_000


class FilesTopicHeldError(MidgateError):
    """Somebody's open transaction on the files topic did not end in time."""


class FilesTopic:
    """Context manager; reads forwards only.

    `progress` is the newest progress read so far; `runs` are the runs that have written anything,
    in the order of their newest record, with who ran them; `nonces` are those of all claims.
    """

    def __init__(
        self, kafka: KafkaSettings, topic: str, content_sha256: str, *, held_s_max: float
    ) -> None:
        self._kafka = kafka
        self._partition = TopicPartition(topic, 0)
        self._key, self._claim_key = progress_key(content_sha256), claim_key(content_sha256)
        self._held_s_max = held_s_max
        self._consumer: AIOKafkaConsumer | None = None
        self.progress: FileProgress | None = None
        self.runs: dict[str, str] = {}
        self.nonces: set[bytes] = set()

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
        """Read until the claim with this nonce has come: all before it is known then, whatever
        an old leader may have said about the end."""
        await self._read(lambda _: nonce in self.nonces)

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
        if record.key == self._claim_key:
            headers = dict(record.headers)
            self.nonces.add(headers.get(NONCE_HEADER, b""))
            self._saw(headers.get(RUN_HEADER, b"").decode(), headers.get(BY_HEADER, b"").decode())
        elif record.key == self._key and record.value is not None:
            try:
                self.progress = read_progress(record.value)
            except ValueError as error:
                raise MidgateError(
                    f"{self._partition.topic} holds at offset {record.offset} what this version"
                    f" cannot read: {error}",
                    hint="a newer version, or something else, writes to this topic",
                ) from error
            self._saw(self.progress.run, self.progress.by)

    def _saw(self, run: str, by: str) -> None:
        self.runs.pop(run, None)
        self.runs[run] = by

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
