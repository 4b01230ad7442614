"""Deliverers for tests: a real log, follower and writer; input and routing are the test's own."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from aiokafka import TopicPartition

from schemas.codec import decode
from streams.acknowledgement import Acknowledgement, StartNonce, decode_acknowledgement
from streams.authorization_writer import AuthorizationWriter
from streams.deliverer import Deliverer, DelivererIdentity
from streams.follower import Follower
from streams.group_offsets import fetch_offsets
from streams.holds import HoldChanges
from streams.lanes import LaneLayout
from streams.lease_clock import lease_clock
from streams.record_format import OutRecord, PartitionRecords, encode_records
from streams.rights import RightsSnapshot
from streams.settings import (
    AuthorizationSettings,
    KafkaSettings,
    LayoutSettings,
    RouterSettings,
)
from streams.topics import TopicNames
from tests.transaction_support import make_topics, open_producer, values

READY_S_MAX = 20.0


class InputRecord(NamedTuple):
    """A raw record as far as a deliverer looks at it."""

    partition: int
    offset: int
    value: bytes


def input_records(first: int, count: int, partition: int = 0) -> list[InputRecord]:
    """Records that can be told apart in the output."""
    return [
        InputRecord(partition, offset, b"%d-%d" % (partition, offset))
        for offset in range(first, first + count)
    ]


@dataclass(frozen=True)
class RoutedRecords:
    """What the test's own routing put out."""

    records: int
    tenant: Mapping[tuple[str, int], PartitionRecords]
    quarantine: Mapping[int, list[OutRecord]] = field(default_factory=dict)
    metering: Mapping[int, list[OutRecord]] = field(default_factory=dict)
    bytes_out: int = 0
    holds: HoldChanges = field(default_factory=HoldChanges)


Route = Callable[[Sequence[InputRecord], RightsSnapshot, int, int], RoutedRecords]


def route_all_to(topic: str) -> Route:
    """Every record goes to one topic, unchanged, as far as the bytes go."""

    def route(
        records: Sequence[InputRecord],
        snapshot: RightsSnapshot,
        decided_at_ms: int,
        bytes_out_max: int,
    ) -> RoutedRecords:
        out: list[OutRecord] = []
        bytes_out = 0
        for record in records:
            if out and bytes_out + len(record.value) > bytes_out_max:
                break
            bytes_out += len(record.value)
            out.append((b"k", record.value, decided_at_ms, []))
        return RoutedRecords(len(out), {(topic, 0): encode_records(out)}, bytes_out=bytes_out)

    return route


@dataclass
class Installation:
    """One installation on the tests' broker, with one tenant topic and somebody who follows."""

    kafka: KafkaSettings
    layout: LayoutSettings
    follower: Follower
    writer: AuthorizationWriter
    tenant: str

    @property
    def names(self) -> TopicNames:
        return self.layout.topics

    def lane(
        self,
        number: int = 0,
        *,
        follower: Any = None,
        still_owner: Callable[[], Awaitable[bool]] | None = None,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        monotonic: Callable[[], float] = lease_clock,
        **router: Any,
    ) -> Deliverer[RightsSnapshot]:
        """A lane's deliverer, not started."""
        lanes = LaneLayout(self.layout.app_id, self.layout.lanes, self.layout.partitions)
        return Deliverer(
            DelivererIdentity(
                transactional_id=lanes.transactional_id(number),
                kind="LANE",
                app_id=lanes.app_id,
                lane=number,
                lanes=lanes.lanes,
                partitions=lanes.partitions,
                inputs=tuple(lanes.partitions_of(number)),
                group=lanes.router_group,
                ack=TopicPartition(self.names.ledger, number),
                topics=self.names,
                build="test",
            ),
            kafka=self.kafka,
            router=RouterSettings(**router),
            follower=follower or self.follower,
            writer=self.writer,
            still_owner=still_owner or always_owner,
            tenant_topics=lambda: [self.tenant],
            clock_ms=clock_ms,
            monotonic=monotonic,
        )

    async def delivered(self) -> list[bytes]:
        """What the tenant sees."""
        return await values(self.kafka, self.tenant)

    async def ledger(self, partition: int = 0) -> list[dict[str, Any]]:
        """The ledger entries of a raw partition."""
        return [
            decode(value)[1] for value in await values(self.kafka, self.names.ledger, partition)
        ]

    async def offsets(self, lane: int = 0) -> dict[TopicPartition, Any]:
        """Committed offsets of a lane's input and acknowledgement key, read behind a fence."""
        deliverer = self.lane(lane)
        places = [
            deliverer.identity.ack,
            *(TopicPartition(self.names.raw, number) for number in deliverer.identity.inputs),
        ]
        producer = await open_producer(self.kafka, deliverer.identity.transactional_id)
        try:
            return await fetch_offsets(producer.client, deliverer.identity.group, places)
        finally:
            await producer.close()

    async def acknowledged(self, lane: int = 0) -> Acknowledgement | StartNonce | None:
        """What the lane's acknowledgement key says."""
        found = (await self.offsets(lane))[TopicPartition(self.names.ledger, lane)]
        return decode_acknowledgement(found.metadata)


async def always_owner() -> bool:
    return True


@asynccontextmanager
async def installation(kafka: KafkaSettings, layout: LayoutSettings) -> AsyncIterator[Installation]:
    """Topics have been applied; a follower that may decide, and a writer."""
    follower = Follower(kafka, layout, AuthorizationSettings(), heartbeat=True)
    writer = AuthorizationWriter(kafka, layout, follower)
    tenant = layout.topics.tenant("acme")
    await make_topics(kafka, tenant)
    await follower.start(ready_within_s=READY_S_MAX)
    try:
        await writer.start()
        yield Installation(kafka, layout, follower, writer, tenant)
    finally:
        await writer.stop()
        await follower.stop()
