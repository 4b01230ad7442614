"""The labels topic read into the local stores, by a consumer of its own outside any group.

A store is caught up before its partition decides anything, and follows afterwards. How far it is
changes only when its owner asks for more, so that everything decided in between was decided on the
histories of one position: the one that the ledger records.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.structs import ConsumerRecord

from streams import clients
from streams.ending import in_thread, say_goodbye
from streams.errors import BrokerUnreachableError, WrongLogError
from streams.label_store import LabelStore, LabelStores
from streams.settings import KafkaSettings
from streams.topics_client import TopicsAdmin

log = structlog.get_logger(__name__)

# Without progress for as long, a broker has gone, or somebody's transaction holds the topic up.
STALLED_S_MAX = 30.0
POLL_MS = 100
# What one step takes in: a write of some MB, and some 20 ms of reading records.
STEP_RECORDS_MAX = 2_000
STOP_S_MAX = 2.0
# A key that is no PIC: what writers leave to find their own start in what they read.
MARK_KEY = b"writer.mark"
MARK_HEADER = "mg-nonce"


class LabelFeed:
    """Labels of some partitions: `open`, `catch_up`, then `take` whenever it suits; `close`."""

    def __init__(
        self,
        kafka: KafkaSettings,
        topic: str,
        partitions: Sequence[int],
        stores: LabelStores,
        *,
        purpose: str,
    ) -> None:
        self._kafka = kafka
        self._topic = topic
        self._partitions = tuple(TopicPartition(topic, number) for number in partitions)
        self._stores = stores
        self._purpose = purpose
        self._consumer: AIOKafkaConsumer | None = None
        self._open: dict[int, LabelStore] = {}
        self.marks: dict[int, bytes] = {}
        """The newest writer's mark read in each partition."""

    @property
    def positions(self) -> dict[int, int]:
        """By partition: every label below is known, and none from there on."""
        return {number: max(0, store.position) for number, store in self._open.items()}

    def find(self, partition: int, pics: Sequence[bytes]) -> list[bytes | None]:
        """Packed histories of many PICs at once; None: no label. Raises LocalStoreError."""
        return self._open[partition].find(pics)

    async def open(self) -> None:
        """Connect and open the stores; what cannot be trusted of them begins anew.

        Does nothing when open. Raises ConfigurationError (no topic, no folder), LocalStoreError,
        BrokerUnreachableError.
        """
        if self._consumer is not None:
            return
        identity = await asyncio.to_thread(self._identity)
        consumer = clients.consumer(self._kafka, max_poll_records=STEP_RECORDS_MAX)
        try:
            await clients.start(consumer, self._kafka)
            self._consumer = consumer
            consumer.assign(self._partitions)
            begins = await consumer.beginning_offsets(self._partitions)
            ends = await consumer.end_offsets(self._partitions)
            for place in self._partitions:
                store = self._open_store(place, identity)
                if not store.is_empty and not begins[place] <= store.position <= ends[place]:
                    log.warning(
                        "label_store_ahead_of_topic",
                        partition=place.partition,
                        position=store.position,
                        end=ends[place],
                    )
                    store.discard()
                    store = self._open_store(place, identity)
                consumer.seek(place, begins[place] if store.is_empty else store.position)
        except BaseException as error:
            await self.close()
            if isinstance(error, KafkaError):
                raise self._unreadable(error) from error
            raise

    def _identity(self) -> str:
        return TopicsAdmin(self._kafka).identity(self._topic)

    def _open_store(self, place: TopicPartition, identity: str) -> LabelStore:
        name = f"{self._purpose}-{self._topic}-{place.partition}"
        store = self._stores.open(name, f"{identity}/{place.partition}")
        self._open[place.partition] = store
        return store

    async def catch_up(
        self,
        floors: Mapping[int, int],
        *,
        on_progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        """Read to the present end, behind which nothing is committed yet.

        `floors` are positions that somebody has decided with. Raises WrongLogError when the topic
        does not reach one: labels that counted are gone, and what they forbade would not be known.
        """
        consumer = self._started()
        try:
            ends = await consumer.end_offsets(self._partitions)
        except KafkaError as error:
            raise self._unreadable(error) from error
        total = sum(ends.values())

        def is_enough() -> bool:
            positions = self.positions
            on_progress(sum(positions.values()), total)
            return all(positions[place.partition] >= ends[place] for place in self._partitions)

        await self.read_until(is_enough)
        for number, floor in floors.items():
            if self.positions[number] < floor:
                raise WrongLogError(
                    f"{self._topic}-{number} ends at {self.positions[number]}, but was decided on"
                    f" up to {floor}: labels are gone",
                    hint="find out what was restored or made anew before going on",
                )

    async def read_until(self, is_enough: Callable[[], bool]) -> None:
        """Take in records until `is_enough`. Raises BrokerUnreachableError when nothing comes."""
        moved_at = time.monotonic()
        while not is_enough():
            before = self.positions
            await self.take(wait_ms=POLL_MS, off_loop=True)
            now = time.monotonic()
            if self.positions != before:
                moved_at = now
            elif now - moved_at > STALLED_S_MAX:
                raise BrokerUnreachableError(
                    f"{self._topic} gave nothing to read for {STALLED_S_MAX:g} s",
                    hint="a broker has gone, or somebody's transaction is open on it",
                )

    async def take(self, *, wait_ms: int = 0, off_loop: bool = False) -> dict[int, set[bytes]]:
        """Take in what has come, one step at most; by partition the PICs that it changed.

        Raises what `LabelStore.apply` raises, and BrokerUnreachableError.
        """
        consumer = self._started()
        try:
            fetched = await consumer.getmany(
                *self._partitions, timeout_ms=wait_ms, max_records=STEP_RECORDS_MAX
            )
            positions = {place: await consumer.position(place) for place in self._partitions}
        except KafkaError as error:
            raise self._unreadable(error) from error
        changed: dict[int, set[bytes]] = {}
        for place, position in positions.items():
            store = self._open[place.partition]
            records = fetched.get(place, [])
            if records or position > store.position:
                pairs = [(record.key, record.value) for record in records]
                if off_loop:
                    pics = await in_thread(partial(store.apply, pairs, position))
                else:
                    pics = store.apply(pairs, position)
                self._note_marks(place.partition, records)
                if pics:
                    changed[place.partition] = pics
        return changed

    def _note_marks(self, partition: int, records: Sequence[ConsumerRecord]) -> None:
        for record in records:
            if record.key == MARK_KEY:
                self.marks[partition] = dict(record.headers).get(MARK_HEADER, b"")

    async def close(self) -> None:
        """Disconnect and give the stores back."""
        consumer, self._consumer = self._consumer, None
        stores, self._open = list(self._open.values()), {}
        for store in stores:
            store.close()
        if consumer is not None:
            with suppress(KafkaError):
                await say_goodbye(consumer.stop(), STOP_S_MAX)

    def _started(self) -> AIOKafkaConsumer:
        assert self._consumer is not None, "opened before use"
        return self._consumer

    def _unreadable(self, error: KafkaError) -> BrokerUnreachableError:
        return BrokerUnreachableError(
            f"{self._topic} cannot be read: {error!r}",
            hint="see whether the brokers are healthy, and who may read the topic",
        )
