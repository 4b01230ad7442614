"""Metering of one partition of the facts: read, make units, write them with the position.

One transaction holds the units, the tallies and the position that were made of some facts, and one
transactional id a partition fences whoever metered it before. So a fact is metered once, whoever
delivers it how often: its offset says whether it was. Group offsets (Faust's) decide nothing here.

Start order, the only way into work and on after any failure, and what a kill after it leaves:

1. open the local store                     a store to be caught up
2. initialise the producer                  the predecessor is fenced, its transaction settled
3. write a mark with a nonce                a mark, which nobody else looks at
4. read `<prefix>.usage` until the mark     a store that is further caught up
5. read the facts from the position on      as below

Step 4 cannot stop short at an old leader's end: the mark was written behind all that was ever
committed here. Per portion of facts:

1. make units on top of the store           nothing
2. begin, send units, tallies, position     an open transaction; the next start aborts it
3. commit                                   settled one way or the other by the next start
4. take them into the store                 a store that the next start catches up
"""

import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import ConsumerRecord

from schemas.codec import UnknownFrameError
from streams import clients
from streams.ending import in_thread, say_goodbye
from streams.errors import BrokerUnreachableError, UpgradeNeededError, WrongLogError
from streams.metering import Metered, meter
from streams.metrics import Metrics
from streams.record_batches import send_records
from streams.record_format import OutRecord
from streams.settings import Settings
from streams.topics_client import TopicsAdmin
from streams.transactions import TransactionalProducer
from streams.usage_records import (
    Record,
    UsagePosition,
    UsageTally,
    position_record,
    tally_record,
    unit_record,
)
from streams.usage_store import UsageStores, ViewPosition
from streams.usage_view import UsageView

log = structlog.get_logger(__name__)

# Of one transaction: 1 MB of facts are some 30,000 events, which make at most 4 MB of units.
PORTION_FACTS_MAX = 500
PORTION_BYTES_MAX = 1024 * 1024
READ_RECORDS_MAX = 5_000
POLL_MS = 100
STOP_S_MAX = 2.0
# Without progress for as long, a broker has gone, or somebody's transaction holds the topic up.
STALLED_S_MAX = 30.0


class FactRecord(NamedTuple):
    """A record of the facts' topic."""

    offset: int
    value: bytes | None


class TopicIdentities(NamedTuple):
    """Which topics these are: one made anew under the same name is another."""

    usage: str
    metering: str

    @classmethod
    def ask(cls, settings: Settings) -> "TopicIdentities":
        """Ask the broker; blocks. Raises ConfigurationError when a topic does not exist."""
        admin, topics = TopicsAdmin(settings.kafka), settings.layout.topics
        return cls(admin.identity(topics.usage), admin.identity(topics.metering))


class PartitionMeter:
    """One partition, from a start order on; made by `metering`, and of no use after any error."""

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        partition: int,
        identities: TopicIdentities,
        view: UsageView,
        producer: TransactionalProducer,
        consumer: AIOKafkaConsumer,
    ) -> None:
        names = settings.layout.topics
        self._metrics = metrics
        self._partition = partition
        self._identities = identities
        self._view = view
        self._producer = producer
        self._consumer = consumer
        self._usage = TopicPartition(names.usage, partition)
        self._facts = TopicPartition(names.metering, partition)
        self._next_fact = 0

    async def start(self) -> None:
        """Steps 3 and 4; afterwards it is known which fact comes next."""
        self._consumer.assign([self._usage, self._facts])
        self._consumer.pause(self._usage, self._facts)
        nonce = uuid.uuid4().hex
        await self._write([position_record(UsagePosition(self._partition, -1, "", 0, nonce), 0)])
        begin = (await self._consumer.beginning_offsets([self._usage]))[self._usage]
        self._consumer.seek(self._usage, max(begin, self._view.position.usage))
        seen: set[str] = set()

        async def read(records: Sequence[ConsumerRecord], position: int) -> None:
            seen.update(await in_thread(lambda: self._view.read(records, position)))

        await self._read_until(self._usage, read, lambda position: nonce in seen)
        await self._find_next_fact()
        log.info("metering_started", partition=self._partition, next_fact=self._next_fact)

    async def _find_next_fact(self) -> None:
        begin = (await self._consumer.beginning_offsets([self._facts]))[self._facts]
        end = (await self._consumer.end_offsets([self._facts]))[self._facts]
        stands = self._view.position
        if stands.next_fact < 0 or stands.facts != self._identities.metering:
            self._next_fact = begin
            return
        if stands.next_fact > end:
            raise WrongLogError(
                f"{self._facts.topic}-{self._partition} ends at {end}, but was metered up to"
                f" {stands.next_fact}: facts are gone",
                hint="find out what was restored before going on",
            )
        if stands.next_fact < begin:
            log.error(
                "facts_expired", partition=self._partition, first=stands.next_fact, next=begin
            )
        self._next_fact = max(begin, stands.next_fact)

    async def catch_up(self) -> None:
        """Meter every fact that stands in the topic now. Raises what `take` raises."""
        end = (await self._consumer.end_offsets([self._facts]))[self._facts]
        self._consumer.seek(self._facts, self._next_fact)

        async def take(records: Sequence[ConsumerRecord], position: int) -> None:
            await self.take([FactRecord(record.offset, record.value) for record in records])

        await self._read_until(self._facts, take, lambda position: position >= end)

    async def take(self, facts: Iterable[FactRecord]) -> None:
        """Meter facts in the order of their offsets; those metered before are passed over.

        Between the last one metered and the first one given there may be no other. Raises
        TransactionFailedError, LocalStoreError, UpgradeNeededError.
        """
        new = [fact for fact in facts if fact.offset >= self._next_fact]
        for portion in portions(new):
            # All that stands below is in the store: what we wrote there was taken in. The next
            # start reads from there on.
            end = (await self._consumer.end_offsets([self._usage]))[self._usage]
            await self._take_portion(portion, end)

    async def _take_portion(self, portion: Sequence[FactRecord], usage_end: int) -> None:
        def make() -> tuple[Metered, dict[bytes, UsageTally], list[Record]]:
            metered = meter((fact.value for fact in portion), self._view.find)
            tallies = self._view.tallies(metered.tallied)
            records = [unit_record(unit) for unit in metered.units]
            records += [tally_record(tally, metered.decided_at) for tally in tallies.values()]
            return metered, tallies, records

        try:
            metered, tallies, records = await in_thread(make)
        except UnknownFrameError as error:
            raise UpgradeNeededError(
                f"{self._facts.topic}-{self._partition} holds a fact of a newer version: {error}",
                hint="upgrade this worker",
            ) from error
        for problem in metered.unreadable:
            log.error("fact_unreadable", partition=self._partition, problem=problem)
        next_fact, at = portion[-1].offset + 1, metered.decided_at
        facts = self._identities.metering
        position = UsagePosition(self._partition, next_fact, facts, at, "")
        await self._write([*records, position_record(position, at)])
        view = ViewPosition(usage_end, next_fact, facts)
        await in_thread(lambda: self._view.wrote(metered.first, tallies, view))
        self._next_fact = next_fact
        for billing, units in Counter(unit.billing for unit in metered.units).items():
            self._metrics.usage_units.labels(billing.value).inc(units)
        self._metrics.metered_newest.labels(str(self._partition)).set(at / 1000)

    async def _write(self, records: Iterable[Record]) -> None:
        # One list for all: a list of its own for each of a million units keeps Python's cycle
        # collector busy.
        no_headers: list[tuple[str, bytes]] = []
        out: list[OutRecord] = [(key, value, at, no_headers) for key, value, at in records]
        await self._producer.begin()
        await send_records(self._producer, self._usage.topic, self._partition, out)
        await self._producer.commit()

    async def _read_until(
        self,
        place: TopicPartition,
        take: Callable[[Sequence[ConsumerRecord], int], Awaitable[None]],
        is_enough: Callable[[int], bool],
    ) -> None:
        consumer = self._consumer
        consumer.resume(place)
        moved_at, before = time.monotonic(), -1
        while not is_enough(position := await consumer.position(place)):
            if position != before:
                moved_at, before = time.monotonic(), position
            elif time.monotonic() - moved_at > STALLED_S_MAX:
                raise BrokerUnreachableError(
                    f"{place.topic}-{place.partition} gave nothing to read for {STALLED_S_MAX:g} s",
                    hint="a broker has gone, or somebody's transaction is open on it",
                )
            found = await consumer.getmany(place, timeout_ms=POLL_MS, max_records=READ_RECORDS_MAX)
            await take(found.get(place, []), await consumer.position(place))
        consumer.pause(place)


def portions(facts: Sequence[FactRecord]) -> Iterable[Sequence[FactRecord]]:
    """Facts of one transaction each: bounded in number and bytes, never none."""
    start = size = 0
    for at, fact in enumerate(facts):
        length = len(fact.value or b"")
        if at > start and (at - start >= PORTION_FACTS_MAX or size + length > PORTION_BYTES_MAX):
            yield facts[start:at]
            start, size = at, 0
        size += length
    if facts:
        yield facts[start:]


@asynccontextmanager
async def metering(
    settings: Settings, metrics: Metrics, stores: UsageStores, partition: int
) -> AsyncIterator[PartitionMeter]:
    """A meter that has gone through its start order; everything is closed with the block."""
    kafka, names = settings.kafka, settings.layout.topics
    identities = await in_thread(lambda: TopicIdentities.ask(settings))
    consumer = clients.consumer(kafka, max_poll_records=READ_RECORDS_MAX)
    view = producer = None
    try:
        await clients.start(consumer, kafka)
        view = await _view(stores, consumer, names.usage, partition, identities.usage)
        producer = await TransactionalProducer.open(
            kafka,
            f"{settings.layout.app_id}-metering-{partition}",
            transaction_timeout_ms=settings.router.transaction_timeout_ms,
            retry_backoff_ms=settings.router.retry_backoff_ms,
            topics=[names.usage],
        )
        one = PartitionMeter(settings, metrics, partition, identities, view, producer, consumer)
        await one.start()
        yield one
    finally:
        if producer is not None:
            await producer.close()
        if view is not None:
            view.close()
        await say_goodbye(consumer.stop(), STOP_S_MAX)


async def _view(
    stores: UsageStores, consumer: AIOKafkaConsumer, topic: str, partition: int, identity: str
) -> UsageView:
    """The store of a partition, as far as the topic reaches what it says."""
    place = TopicPartition(topic, partition)
    name = f"{topic}-{partition}"
    store = await in_thread(lambda: stores.open(name, f"{identity}/{partition}"))
    end = (await consumer.end_offsets([place]))[place]
    if store.position.usage > end:
        log.warning(
            "usage_store_ahead_of_topic", partition=partition, store=store.position.usage, end=end
        )
        store.discard()
        store = stores.open(name, f"{identity}/{partition}")
    return UsageView(store, partition)
