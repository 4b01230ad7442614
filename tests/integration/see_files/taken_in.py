"""What an ingest has left on the broker, as a `read_committed` reader sees it."""

import asyncio
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.partitioner import murmur2

from schemas.codec import decode
from streams import clients
from streams.settings import KafkaSettings
from streams.topics import TopicNames

READ_S_MAX = 30.0


@dataclass
class TakenIn:
    """Records of raw, quarantine and files, in the order of their partitions."""

    raw: list[Any] = field(default_factory=list)
    quarantine: list[Any] = field(default_factory=list)
    files: list[dict[str, Any]] = field(default_factory=list)

    def origins(self) -> Counter[str]:
        """How often each `<hash>:<line>` has been taken in, anywhere."""
        return Counter(
            dict(record.headers)["mg-origin"].decode() for record in self.raw + self.quarantine
        )

    def lines(self) -> list[int]:
        """Line numbers that have been taken in, sorted; a line taken in twice stands twice."""
        counts = self.origins()
        numbers = (int(origin.partition(":")[2]) for origin in counts.elements())
        return sorted(numbers)

    def require_file_order(self) -> None:
        """Events of one package stand in one partition, in the order of the file."""
        last: dict[bytes, int] = defaultdict(int)
        where: dict[bytes, int] = {}
        for record in self.raw:
            line = int(dict(record.headers)["mg-origin"].partition(b":")[2])
            assert line > last[record.key], f"line {line} of {record.key} after {last[record.key]}"
            assert where.setdefault(record.key, record.partition) == record.partition
            last[record.key] = line

    def require_javas_partitions(self, partitions: int) -> None:
        """Every key stands where a Java producer would put it."""
        for record in self.raw + self.quarantine:
            assert record.partition == (murmur2(record.key) & 0x7FFFFFFF) % partitions


async def taken_in(kafka: KafkaSettings, topics: TopicNames) -> TakenIn:
    """Read everything that is committed."""
    found = TakenIn()
    found.raw = await read_all(kafka, topics.raw)
    found.quarantine = await read_all(kafka, topics.quarantine)
    files = await read_all(kafka, topics.files)
    found.files = [decode(record.value)[1] for record in files if record.value is not None]
    return found


async def read_all(kafka: KafkaSettings, topic: str) -> list[Any]:
    """Committed records of a topic, partition by partition.

    Read up to the high watermarks: a commit returns before its markers are written, so a reader
    that is content with the last stable offset can miss the end of what was committed.
    """
    consumer: AIOKafkaConsumer = clients.consumer(kafka)
    unstable: AIOKafkaConsumer = clients.consumer(kafka, isolation_level="read_uncommitted")
    await clients.start(consumer, kafka)
    await clients.start(unstable, kafka)
    try:
        numbers = await _partitions(consumer, topic)
        partitions = [TopicPartition(topic, number) for number in sorted(numbers)]
        consumer.assign(partitions)
        starts = await consumer.beginning_offsets(partitions)
        ends = await unstable.end_offsets(partitions)
        for partition in partitions:
            consumer.seek(partition, starts[partition])
        records: dict[TopicPartition, list[Any]] = {partition: [] for partition in partitions}
        async with asyncio.timeout(READ_S_MAX):
            for partition in partitions:
                while await consumer.position(partition) < ends[partition]:
                    batches = await consumer.getmany(timeout_ms=200)
                    for of, batch in batches.items():
                        records[of] += batch
        return [record for partition in partitions for record in records[partition]]
    finally:
        await consumer.stop()
        await unstable.stop()


async def _partitions(consumer: AIOKafkaConsumer, topic: str) -> set[int]:
    await consumer._client.add_topic(topic)
    return set(consumer._client.cluster.partitions_for_topic(topic) or ())
