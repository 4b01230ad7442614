"""Reading `<prefix>.usage` whole: what stands, each key as it was last written.

The topic is compacted, but the last hours may hold a key twice, and millions of keys do not fit in
memory: what is counted is collected in a local store that is gone afterwards.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from typing import TYPE_CHECKING, Any

from midgate.reading import partitions_of
from schemas.codec import MalformedRecordError, UnknownFrameError
from schemas.reasons import UnitBilling
from streams.errors import SchemaError
from streams.usage_records import (
    CHANNELS,
    NO_AGREEMENT_KEY,
    Usage,
    UsagePosition,
    UsageTally,
    UsageUnit,
    decode_usage,
    month_of,
)
from streams.usage_store import UsageStore, UsageStores, ViewPosition

if TYPE_CHECKING:
    from aiokafka import AIOKafkaConsumer

POLL_MS = 500
READ_RECORDS_MAX = 5_000
Progress = Callable[[int, int], None]


class MonthCounts:
    """Counts of one agreement and month over all keys; close it to give the disk back."""

    def __init__(self, agreement_id: str, month: str) -> None:
        self._prefix = f"{agreement_id or NO_AGREEMENT_KEY}/".encode()
        self._month = month
        self._units: UsageStore = UsageStores(None).temporary("counts")
        self._tallies: dict[bytes, UsageTally] = {}
        self.positions: dict[int, UsagePosition] = {}

    def read(self, records: Iterable[Any]) -> None:
        """Take in records of the topic in the order of their partition."""
        entries: dict[bytes, bytes | None] = {}
        for record in records:
            key = record.key or b""
            ours = key.startswith(self._prefix)
            if not ours and not key.startswith(b"-/position/"):
                continue
            usage = usage_of(record)
            if isinstance(usage, UsagePosition):
                if not usage.nonce:
                    self.positions[usage.partition] = usage
            elif isinstance(usage, UsageTally) and ours and usage.month == self._month:
                self._tallies[key] = usage
            elif isinstance(usage, UsageUnit) and month_of(usage.metered_at) == self._month:
                entries[key] = bytes([CHANNELS.index(usage.channel), _BILLING[usage.billing]])
            elif ours:
                entries[key] = None  # corrected into another month, or erased
        if entries:
            self._units.write(entries, ViewPosition())

    def units(self) -> dict[tuple[str, UnitBilling], int]:
        """Units by channel and billing."""
        counted = Counter(self._units.values())
        return {
            (CHANNELS[value[0]], _BILLINGS[value[1]]): count for value, count in counted.items()
        }

    def copies(self) -> dict[UnitBilling, int]:
        """Copies that made no unit, by reason."""
        counted: Counter[UnitBilling] = Counter()
        for tally in self._tallies.values():
            counted[tally.billing] += tally.copies
        return dict(counted)

    def close(self) -> None:
        """Give the disk back."""
        self._units.close()


_BILLINGS = tuple(UnitBilling)
_BILLING = {billing: index for index, billing in enumerate(_BILLINGS)}


def usage_of(record: Any) -> Usage | None:
    """What a record of the topic says; None for an erased key or what is no usage.

    Raises SchemaError at a record of a newer version.
    """
    if record.value is None:
        return None
    try:
        return decode_usage(record.value)
    except UnknownFrameError as error:
        raise SchemaError(
            f"{record.topic} {record.partition}:{record.offset} was written by a newer version:"
            f" {error}",
            hint="upgrade this program",
        ) from error
    except MalformedRecordError:
        return None


async def whole_topic(
    consumer: AIOKafkaConsumer, topic: str, progress: Progress
) -> AsyncIterator[list[Any]]:
    """Committed records of a topic up to its present end, some at a time."""
    places = await partitions_of(consumer, topic)
    consumer.assign(places)
    begins = await consumer.beginning_offsets(places)
    ends = await consumer.end_offsets(places)
    for place in places:
        consumer.seek(place, begins[place])
    total = sum(ends.values()) - sum(begins.values())
    left = set(places)
    while left:
        batches = await consumer.getmany(*left, timeout_ms=POLL_MS, max_records=READ_RECORDS_MAX)
        for place, records in batches.items():
            yield [record for record in records if record.offset < ends[place]]
        stands = {place: await consumer.position(place) for place in places}
        progress(sum(min(stands[p], ends[p]) - begins[p] for p in places), total)
        left = {place for place in places if stands[place] < ends[place]}


async def waiting_partitions(
    consumer: AIOKafkaConsumer, topic: str, positions: dict[int, UsagePosition]
) -> list[int]:
    """Partitions of the facts in which some are not metered yet."""
    places = await partitions_of(consumer, topic)
    consumer.assign(places)
    begins = await consumer.beginning_offsets(places)
    ends = await consumer.end_offsets(places)
    waiting = []
    for place in places:
        known = positions.get(place.partition)
        consumer.seek(place, max(begins[place], known.next_fact if known else 0))
        while await consumer.position(place) < ends[place]:
            if await consumer.getmany(place, timeout_ms=POLL_MS, max_records=1):
                waiting.append(place.partition)
                break
    return waiting
