"""Take one Scan Event Extract into `<prefix>.raw`, each line exactly once.

A transaction holds the records of some lines and the file's progress, so a kill at any moment
leaves both or neither. The transactional id comes from the file's content: whoever starts on the
same content fences the one before, at the next request of which its transaction is refused.

Start order, the only way into work and on after any failure (a bounded number of times):

1. Initialise the producer: fences an older run of this content and settles its transaction.
2. Read the files topic up to its high watermark: where the last run stopped. Done: refused.
   Another run after one of our own starts: it has taken the file over, we end.
3. Write a *claim* (our run, a nonce) and read until it comes back; judge again. Only now all is
   known that stood before: in step 2 an old leader could have named an old end.
4. Read the file from the line after.

Per portion of lines, and what a kill after each step leaves:

1. encode the lines (one portion ahead)       nothing
2. the file is still the one that was hashed  nothing
3. begin, send records and progress           an open transaction; the next start aborts it
4. commit                                     settled one way or the other by the next start
"""

import asyncio
import random
import time
import uuid
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass

import structlog
from aiokafka.errors import KafkaError
from aiokafka.partitioner import murmur2

from connectors.see_files.batches import Batch, BatchMaker, Portion, portions
from connectors.see_files.file_check import FileFacts
from connectors.see_files.file_progress import (
    DONE,
    RUNNING,
    Progress,
    claim_record,
    progress_record,
)
from connectors.see_files.files_topic import FilesTopic
from connectors.see_files.limits import IngestLimits, Pace
from connectors.see_files.line_reader import LineReader
from connectors.see_files.source_file import FileRefusedError, SourceFile
from streams.errors import BrokerUnreachableError, ConfigurationError, MidgateError
from streams.garbage import BetweenBatches
from streams.record_batches import send_records
from streams.settings import KafkaSettings, LayoutSettings
from streams.transactions import (
    TransactionalProducer,
    TransactionFailedError,
    TransactionRefusedError,
    TransactionTooLargeError,
)

log = structlog.get_logger(__name__)

ORIGIN_HEX_DIGITS = 16
HASHES_KEPT_MAX = 200_000


class AlreadyIngestedError(FileRefusedError):
    """The content was ingested before, under whatever name."""


class IngestDeposedError(MidgateError):
    """Another run has taken the file over; it goes on where this one stopped."""


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What became of the file; `resumed_from` is how many lines an earlier run had taken in."""

    progress: Progress
    resumed_from: int
    starts: int


class FileIngest:
    """One run over one file. `run` may be called once."""

    def __init__(
        self,
        kafka: KafkaSettings,
        layout: LayoutSettings,
        source: SourceFile,
        facts: FileFacts,
        reader: LineReader,
        *,
        by: str,
        limits: IngestLimits | None = None,
        on_progress: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        self._kafka = kafka
        self._layout = layout
        self._topics = layout.topics
        self._source = source
        self._facts = facts
        self._reader = reader
        self._by = by
        self._limits = limits or IngestLimits()
        self._on_progress = on_progress
        self._run = uuid.uuid4().hex
        self._has_opened = False
        self._progress = Progress()
        self._resumed_from = 0
        self._starts = 0
        self._has_progressed = False

    @property
    def transactional_id(self) -> str:
        """The same for the same content, whatever the file is called."""
        return f"{self._layout.app_id}-ingest-{self._facts.content_sha256[:ORIGIN_HEX_DIGITS]}"

    async def run(self) -> IngestReport:
        """Ingest to the end.

        Raises AlreadyIngestedError, FileRefusedError (changed while read), IngestDeposedError,
        ConfigurationError (no topics), or what the last start failed with.
        """
        failures = 0
        while True:
            self._has_progressed = False
            self._starts += 1
            try:
                await self._start_and_take_in()
                return IngestReport(self._progress, self._resumed_from, self._starts)
            except (TransactionRefusedError, TransactionTooLargeError):
                raise  # trying again changes nothing
            except (TransactionFailedError, KafkaError, BrokerUnreachableError) as error:
                failures = 1 if self._has_progressed else failures + 1
                is_hopeless = isinstance(error, BrokerUnreachableError) and not self._has_opened
                if failures >= self._limits.starts_max or is_hopeless:
                    raise _as_midgate_error(error) from error
                log.warning("ingest_starts_over", file=str(self._source.path), error=str(error))
                pause_s = min(self._limits.pause_s_max, 0.1 * 2**failures)
                await asyncio.sleep(pause_s * (0.5 + random.random() / 2))

    async def _start_and_take_in(self) -> None:
        topics = self._topics
        producer = await TransactionalProducer.open(
            self._kafka,
            self.transactional_id,
            transaction_timeout_ms=self._limits.transaction_timeout_ms,
            topics=(topics.raw, topics.quarantine, topics.files),
        )
        self._has_opened = True
        try:
            for topic in (topics.raw, topics.quarantine, topics.files):
                if not producer.partitions(topic):
                    raise ConfigurationError(
                        f"topic {topic} does not exist", hint="run `midgate topics apply`"
                    )
            if await self._claim(producer):
                await self._take_in(producer)
        finally:
            await producer.close()

    async def _claim(self, producer: TransactionalProducer) -> bool:
        """Steps 2 and 3 of the start order; False when our own run had already finished."""
        async with FilesTopic(
            self._kafka,
            self._topics.files,
            self._facts.content_sha256,
            held_s_max=self._limits.held_s_max,
        ) as files:
            await files.read_to(await files.high_watermark())
            if self._is_finished(files):
                return False
            nonce = uuid.uuid4().bytes
            await producer.begin()
            await self._send_claim(producer, nonce)
            await producer.commit()
            await files.read_until_nonce(nonce)
            return not self._is_finished(files)

    def _is_finished(self, files: FilesTopic) -> bool:
        """Take over how far the file is; True when our own run had finished it.

        Raises IngestDeposedError or AlreadyIngestedError when another run has the file.
        """
        newest = next(reversed(files.runs), self._run)
        if self._run in files.runs and newest != self._run:
            raise IngestDeposedError(
                f"{self._source.path}: {files.runs[newest]} has taken this file over"
                f" after line {self._progress.lines}",
                hint="let the other ingest finish; start again should it fail",
            )
        found = files.progress
        if found is None:
            return False
        if found.run != self._run:
            if found.is_done:
                raise AlreadyIngestedError(
                    f"{self._source.path}: the same content was ingested before, by {found.by}"
                    f" ({found.lines} lines)",
                    hint="nothing is to be done; a file with other content has another hash",
                )
            self._resumed_from = found.lines
        self._progress = Progress(found.lines, found.raw, found.quarantined)
        return found.is_done

    async def _take_in(self, producer: TransactionalProducer) -> None:
        maker = BatchMaker(
            self._reader,
            KeyHash(),
            origin=self._facts.content_sha256[:ORIGIN_HEX_DIGITS],
            file_name=self._source.path.name,
            raw_partitions=len(producer.partitions(self._topics.raw)),
            quarantine_partitions=len(producer.partitions(self._topics.quarantine)),
        )
        garbage = BetweenBatches()
        garbage.start()
        pace = Pace(self._limits, self._progress.lines)
        try:
            async with aclosing(self._batches(maker, pace.lines_max)) as batches:
                async for portion, batch in batches:
                    if portion.is_last:
                        self._source.verify()
                    else:
                        self._source.require_unchanged()
                    await self._commit(producer, portion, batch)
                    garbage.after_batch()
                    await asyncio.sleep(pace.pause_s(self._progress.lines))
        except FileRefusedError as error:
            raise FileRefusedError(
                f"{error}; {self._progress.lines} of its lines have been ingested", hint=error.hint
            ) from error
        finally:
            garbage.stop()

    async def _batches(
        self, maker: BatchMaker, lines_max: int
    ) -> AsyncGenerator[tuple[Portion, Batch], None]:
        """Portions after the lines done; the next one is made, in a thread, while the caller is
        busy with this one. One thread at a time reads the file."""
        rest = portions(self._source.chunks(), done=self._progress.lines, lines_max=lines_max)

        def make_next() -> tuple[Portion, Batch] | None:
            portion = next(rest, None)
            if portion is None:
                return None
            return portion, maker.make(portion, time.time_ns() // 1_000_000)

        ahead = asyncio.create_task(asyncio.to_thread(make_next))
        try:
            while (made := await ahead) is not None:
                ahead = asyncio.create_task(asyncio.to_thread(make_next))
                yield made
        finally:
            # A thread cannot be cancelled, and the next start reads the same file.
            await asyncio.gather(ahead, return_exceptions=True)

    async def _commit(
        self, producer: TransactionalProducer, portion: Portion, batch: Batch
    ) -> None:
        lines, raw, quarantined = self._progress
        progress = Progress(
            lines + len(portion.lines), raw + batch.raw_count, quarantined + batch.quarantined
        )
        await producer.begin()
        await self._send_records(producer, batch)
        await self._send_progress(producer, DONE if portion.is_last else RUNNING, progress)
        await producer.commit()
        self._progress = progress
        self._has_progressed = True
        self._on_progress(progress)

    async def _send_records(self, producer: TransactionalProducer, batch: Batch) -> None:
        for partition, records in batch.raw.items():
            await send_records(producer, self._topics.raw, partition, records)
        for partition, records in batch.quarantine.items():
            await send_records(producer, self._topics.quarantine, partition, records)

    async def _send_progress(
        self, producer: TransactionalProducer, state: str, progress: Progress
    ) -> None:
        record = progress_record(
            self._facts,
            state,
            progress,
            file_name=self._source.path.name,
            run=self._run,
            by=self._by,
            now_ms=time.time_ns() // 1_000_000,
        )
        await send_records(producer, self._topics.files, 0, [record])

    async def _send_claim(self, producer: TransactionalProducer, nonce: bytes) -> None:
        now_ms = time.time_ns() // 1_000_000
        record = claim_record(self._facts, run=self._run, by=self._by, nonce=nonce, now_ms=now_ms)
        await send_records(producer, self._topics.files, 0, [record])


class KeyHash:
    """murmur2 of a key, positive, as every Kafka client's default partitioner takes it.

    A package is scanned a dozen times: what was worked out is kept, within a bound.
    """

    def __init__(self) -> None:
        self._known: dict[bytes, int] = {}

    def __call__(self, key: bytes) -> int:
        known = self._known.get(key)
        if known is None:
            known = murmur2(key) & 0x7FFFFFFF
            if len(self._known) >= HASHES_KEPT_MAX:
                self._known.clear()
            self._known[key] = known
        return known


def _as_midgate_error(error: Exception) -> MidgateError:
    if isinstance(error, MidgateError):
        return error
    return TransactionFailedError(f"the ingest failed: {error!r}")
