"""The metering agent: Faust brings the facts, one task for each partition meters them.

Faust's part is which worker has which partitions, and bringing what is new. Its committed offsets
are no more than where it begins to bring: where metering stands is written with the units
(`streams/partition_meter.py`), and what Faust did not bring, or brought to nobody, is read from the
topic. So a fact is never lost between an acknowledgement to Faust and a commit of ours.
"""

import asyncio
import random
from collections.abc import Iterable
from typing import Any

from mode import Service

from streams.ending import end_tasks
from streams.errors import MidgateError
from streams.logs import FRAMEWORK_LOG, get_logger
from streams.metrics import Metrics
from streams.partition_meter import FactRecord, PartitionMeter, metering
from streams.settings import Settings
from streams.usage_store import UsageStores

log = get_logger(__name__)

# What waits for a partition's task. More is dropped here and read from the topic.
WAITING_FACTS_MAX = 2_000
TAKE_FACTS_MAX = 1_000
TAKE_WITHIN_S = 0.2
BACKOFF_S = (0.5, 1.0, 2.0, 5.0, 10.0)
STOP_S_MAX = 6.0


class Inbox:
    """Facts that wait for a partition's task; it says when it had to drop some."""

    def __init__(self) -> None:
        self._facts: list[FactRecord] = []
        self._filled = asyncio.Event()
        self.dropped = False

    def put(self, fact: FactRecord) -> None:
        """Add a fact, or remember that one was dropped."""
        if self.dropped or len(self._facts) >= WAITING_FACTS_MAX:
            self._facts.clear()
            self.dropped = True
        else:
            self._facts.append(fact)
        self._filled.set()

    async def wait(self) -> None:
        """Until something was put in."""
        await self._filled.wait()

    def take(self) -> list[FactRecord]:
        """All that waits, in order."""
        facts, self._facts, self.dropped = self._facts, [], False
        self._filled.clear()
        return facts


class Metering(Service):
    """The tasks of the partitions that Faust gave to this worker."""

    logger = FRAMEWORK_LOG

    def __init__(self, settings: Settings, metrics: Metrics, **options: Any) -> None:
        self._settings = settings
        self._metrics = metrics
        self._stores = UsageStores(settings.stores.data_dir)
        self._inboxes: dict[int, Inbox] = {}
        self._meters: dict[int, asyncio.Task[None]] = {}
        # Cleared while the group divides its partitions anew: whoever starts over then might
        # fence the one that has the partition now.
        self._divided = asyncio.Event()
        super().__init__(**options)

    def revoked(self) -> None:
        """The group divides its partitions anew."""
        self._divided.clear()

    async def assigned(self, partitions: Iterable[int]) -> None:
        """Exactly these partitions are ours now; those that stayed go on."""
        ours = set(partitions)
        left = [self._meters.pop(number) for number in set(self._meters) - ours]
        for number in set(self._inboxes) - ours:
            del self._inboxes[number]
        for number in ours - set(self._meters):
            self._inboxes[number] = inbox = Inbox()
            self._meters[number] = asyncio.create_task(self._keep_metering(number, inbox))
        self._divided.set()
        await end_tasks(left, STOP_S_MAX)

    def put(self, partition: int, fact: FactRecord) -> None:
        """A fact that Faust brought; one of a partition that is not ours is the owner's to read."""
        inbox = self._inboxes.get(partition)
        if inbox is not None:
            inbox.put(fact)

    async def on_stop(self) -> None:
        """End every task; the next owner goes on from what was committed."""
        await end_tasks(self._meters.values(), STOP_S_MAX)
        self._meters.clear()

    async def _keep_metering(self, partition: int, inbox: Inbox) -> None:
        failures = 0
        while True:
            await self._divided.wait()
            try:
                async with metering(
                    self._settings, self._metrics, self._stores, partition
                ) as meter:
                    await meter.catch_up()
                    failures = 0
                    await self._meter(meter, inbox)
            except Exception as error:  # noqa: BLE001  # only the start order leads on
                failures += 1
                self._metrics.metering_failures.inc()
                hint = error.hint if isinstance(error, MidgateError) else ""
                log.error(
                    "metering_failed",
                    partition=partition,
                    problem=str(error) or repr(error),
                    hint=hint,
                    failures=failures,
                )
            pause = BACKOFF_S[min(failures, len(BACKOFF_S)) - 1]
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))

    async def _meter(self, meter: PartitionMeter, inbox: Inbox) -> None:
        while True:
            await inbox.wait()
            await self._divided.wait()
            dropped, facts = inbox.dropped, inbox.take()
            if dropped:
                await meter.catch_up()
            else:
                await meter.take(facts)


def add_metering(app: Any, topic_name: str, meters: Metering) -> None:
    """Register the agent; the topic must exist, it is never declared from here."""
    topic = app.topic(
        topic_name,
        key_type=bytes,
        value_type=bytes,
        key_serializer="raw",
        value_serializer="raw",
        internal=False,
    )

    async def on_revoked(_: Any, revoked: Any, **__: Any) -> None:
        meters.revoked()

    async def on_assigned(_: Any, assigned: Any, **__: Any) -> None:
        await meters.assigned(tp.partition for tp in assigned if tp.topic == topic_name)

    # Faust holds handlers weakly unless told otherwise.
    app.on_partitions_revoked.connect(on_revoked, weak=False)
    app.on_partitions_assigned.connect(on_assigned, weak=False)

    @app.agent(topic, name="metering")  # type: ignore[untyped-decorator]
    async def bring(stream: Any) -> None:
        async for event in stream.events():
            message = event.message
            meters.put(message.partition, FactRecord(message.offset, message.value))
