"""The bench's workload: a pure function of its arguments, the same as the neutral yardstick's.

N events, each a barcode of one of M MIDs; one MID in twenty is entitled to nobody, one in three
to two tenants. `check` recomputes what every tenant topic must hold and compares digests, so a
run that lost, doubled or leaked an event cannot print a figure.
"""

import asyncio
import hashlib
import random
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from streams.label_history import Label, encode_history
from tests.bench.encoder import encode

POLL_S = 0.05
LABELLED_EVERY = 5


@dataclass(frozen=True)
class Workload:
    """Size and seed."""

    events: int = 1_000_000
    tenants: int = 100
    mids: int = 10_000
    seed: int = 1
    labelled: bool = False
    """Every fifth event under a number of AI 94, whose owner only its label names."""

    def rights(self) -> dict[bytes, list[int]]:
        """MID -> numbers of the tenants entitled to it."""
        rng = random.Random(self.seed)
        table: dict[bytes, list[int]] = {}
        for i in range(self.mids):
            mid = b"9%08d" % (i * 7919 % 10**8) if i % 4 else b"%06d" % (i * 89 % 900_000)
            copies = 1 + (i % 3 == 0)
            owners = sorted({rng.randrange(self.tenants) for _ in range(copies)}) if i % 20 else []
            table[mid] = owners
        return table

    def pieces(self) -> Iterator[tuple[bytes, bytes, bytes]]:
        """Barcode, raw value and MID of every event."""
        rng = random.Random(self.seed + 1)
        keys = list(self.rights())
        for i in range(self.events):
            mid = keys[rng.randrange(len(keys))]
            if self.labelled and i % LABELLED_EVERY == 0:
                body = b"94001%016d" % (i * 7_919_317 % 10**16)  # spread, as real ones are
            else:
                body = (b"92748%s%011d" if len(mid) == 9 else b"93748%s%014d") % (mid, i)
            barcode = body + check_digit(body)
            yield barcode, encode(i, barcode), mid

    def tenant(self, number: int) -> str:
        """Tenant id."""
        return f"{number:04d}"


def check_digit(body: bytes) -> bytes:
    """The check digit of a number without it."""
    odd, even = body[-1::-2], body[-2::-2]
    total = 3 * (sum(odd) - 48 * len(odd)) + sum(even) - 48 * len(even)
    return b"%d" % (-total % 10)


async def load(workload: Workload, bootstrap: str, topic: str) -> float:
    """Write every event to the topic; seconds it took."""
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        compression_type="lz4",
        linger_ms=20,
        max_batch_size=1 << 18,
        acks="all",
    )
    await producer.start()
    started = time.monotonic()
    for key, value, _ in workload.pieces():
        await producer.send(topic, key=key, value=value)
    await producer.stop()
    return time.monotonic() - started


async def load_labels(workload: Workload, bootstrap: str, topic: str) -> int:
    """Write the label of every event that needs one; their number."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, linger_ms=20, acks="all")
    await producer.start()
    labels = 0
    for key, _, mid in workload.pieces():
        if key.startswith(b"94"):
            labels += 1
            pic = key.decode()
            label = Label(f"l{labels}", mid.decode(), "0000", "", 0, 0, 1 << 46, None, "")
            await producer.send(topic, key=key, value=encode_history(pic, [label]))
    await producer.stop()
    return labels


async def watch(
    bootstrap: str, group: str, topic: str, partitions: int, *, timeout_s: float
) -> dict[str, float]:
    """Wait until the group has committed all of the topic; events/s from 10 % on.

    Raises TimeoutError when it has not after `timeout_s`.
    """
    parts = [TopicPartition(topic, number) for number in range(partitions)]
    async with _admin(bootstrap) as admin:
        total = await _end(bootstrap, parts)
        low: tuple[float, int] | None = None
        async with asyncio.timeout(timeout_s):
            while True:
                offsets = await admin.list_consumer_group_offsets(group, partitions=parts)
                done = sum(max(0, offset.offset) for offset in offsets.values())
                now = time.monotonic()
                if low is None and done >= total / 10:
                    low = (now, done)
                if low is not None and done >= total:
                    seconds = max(now - low[0], 1e-9)
                    return {
                        "events_per_s": round((done - low[1]) / seconds),
                        "measured_events": done - low[1],
                        "seconds": round(seconds, 2),
                    }
                await asyncio.sleep(POLL_S)


async def check(workload: Workload, bootstrap: str, prefix: str) -> dict[str, int]:
    """Read every tenant topic, read_committed, and compare counts and digests."""
    table = workload.rights()
    want = [[0, 0] for _ in range(workload.tenants)]
    for key, value, mid in workload.pieces():
        digest = _digest(key, value)
        for number in table[mid]:
            want[number][0] += 1
            want[number][1] ^= digest
    index = {f"{prefix}.tenant.{workload.tenant(n)}": n for n in range(workload.tenants)}
    got = await _read(bootstrap, index)
    return {
        "tenants": workload.tenants,
        "wrong_tenants": sum(got[n] != want[n] for n in range(workload.tenants)),
        "want": sum(count for count, _ in want),
        "got": sum(count for count, _ in got),
    }


async def _read(bootstrap: str, index: dict[str, int]) -> list[list[int]]:
    got = [[0, 0] for _ in index]
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        isolation_level="read_committed",
        enable_auto_commit=False,
        max_partition_fetch_bytes=1 << 22,
    )
    await consumer.start()
    parts = [TopicPartition(topic, 0) for topic in index]
    consumer.assign(parts)
    await consumer.seek_to_beginning()
    end = await consumer.end_offsets(parts)
    left = {part for part in parts if end[part] > 0}
    while left:
        for part, records in (await consumer.getmany(timeout_ms=500, max_records=50_000)).items():
            slot = got[index[part.topic]]
            for record in records:
                slot[0] += 1
                slot[1] ^= _digest(record.key, record.value)
        left = {part for part in left if await consumer.position(part) < end[part]}
    await consumer.stop()
    return got


def _digest(key: bytes, value: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(key + value, digest_size=8).digest(), "big")


async def _end(bootstrap: str, parts: list[TopicPartition]) -> int:
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    await consumer.start()
    try:
        ends = await consumer.end_offsets(parts)
        return sum(int(end) for end in ends.values())
    finally:
        await consumer.stop()


@asynccontextmanager
async def _admin(bootstrap: str) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()
