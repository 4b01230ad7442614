"""Where an event was placed: the tenant topic read from the moment at which the event was received.

A copy has the timestamp of its raw record, so the first record of the tenant partition that is not
older stands at or before it. From there every batch is looked into, up to a bound. Copies of one
raw partition stand in its order, unless one waited for its label: so that of a later event is
looked for behind that of an earlier one first, and beyond the bound by leaps. What is not found is
told with the reason, never left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from midgate.batch_search import hints
from midgate.reading import fetched, records_between
from streams.instants import format_instant
from streams.record_format import encode_header

if TYPE_CHECKING:
    from aiokafka import AIOKafkaConsumer, TopicPartition

    from streams.facts import Tenant

# Looked through, before leaps: about a second.
SEARCH_RECORDS_MAX = 1_000_000
ID_HEADER = "ce_id"
FETCH_MAX = 500


class RawPlace(NamedTuple):
    """A raw record's position, and when it was received."""

    partition: int
    offset: int
    timestamp: int

    @property
    def copy_id(self) -> bytes:
        """`ce_id` of its copies."""
        return b"%d-%d" % (self.partition, self.offset)


class _Found(NamedTuple):
    """Raw offset of an event, and offset of its copy."""

    raw: int
    copy: int


def _copy_id(record: Any) -> bytes:
    return bytes(dict(record.headers).get(ID_HEADER) or b"")


def _raw_of(record: Any) -> tuple[int, int]:
    """Raw partition and offset that a copy is of; what somebody else wrote is of none."""
    partition, _, offset = _copy_id(record).partition(b"-")
    return (int(partition), int(offset)) if partition.isdigit() and offset.isdigit() else (-1, -1)


class CopySearch:
    """Looks copies up with one consumer, whose assignment it changes."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer
        self._topics: set[str] | None = None
        self._ends: dict[TopicPartition, int] = {}
        self._found: dict[tuple[TopicPartition, int], _Found] = {}
        """The copy found last, by its partition and its raw partition."""

    async def find(self, tenant: Tenant, raw: RawPlace) -> dict[str, Any]:
        """Topic, partition and offset of a tenant's copy, or why there is none to be shown.

        `found`: `yes`; `no_longer_recorded`: the topic's retention may have taken it;
        `not_searched`: beyond the bound; `no`: it is not there and should be
        (`python -m auditor` tells more).
        """
        from aiokafka import TopicPartition

        place = TopicPartition(tenant.topic, raw.partition % tenant.partitions)
        told: dict[str, Any] = {
            "tenant": tenant.tenant_id,
            "topic": tenant.topic,
            "partition": place.partition,
            "offset": None,
        }
        if not await self._exists(tenant.topic):
            return {**told, "found": "no_longer_recorded", "detail": "the topic is gone"}
        self._consumer.assign([place])
        end = await self._end_of(place)
        times = await self._consumer.offsets_for_times({place: max(0, raw.timestamp)})
        if times[place] is not None:
            offset = await self._read(place, times[place].offset, end, raw)
            if offset is None:
                detail = f"not among the {SEARCH_RECORDS_MAX:,} records that follow it in time"
                return {**told, "found": "not_searched", "detail": detail}
            if offset >= 0:
                return {**told, "offset": offset, "found": "yes", "detail": ""}
        return {**told, **await self._absent(place, raw)}

    async def _exists(self, topic: str) -> bool:
        if self._topics is None:
            self._topics = set(await self._consumer.topics())
        return topic in self._topics

    async def _end_of(self, place: TopicPartition) -> int:
        if place not in self._ends:
            self._ends[place] = (await self._consumer.end_offsets([place]))[place]
        return self._ends[place]

    async def _read(self, place: TopicPartition, start: int, end: int, raw: RawPlace) -> int | None:
        """Offset of the copy; -1 when it is not there, None when that is not known."""
        before = self._found.get((place, raw.partition))
        middle = start
        if before is not None and before.raw < raw.offset:
            middle = max(start, min(before.copy + 1, end))
        is_bounded = False
        # Behind the copy that stands before it in raw, where it is unless it is out of order.
        for first, last in ((middle, end), (start, middle)):
            stop = min(last, first + SEARCH_RECORDS_MAX)
            offset = await self._scan(place, first, stop, raw)
            if offset < 0 and stop < last:
                is_bounded = True
                offset = await self._leap(place, stop, last, raw)
            if offset >= 0:
                self._found[place, raw.partition] = _Found(raw.offset, offset)
                return offset
        return None if is_bounded else -1

    async def _scan(self, place: TopicPartition, start: int, end: int, raw: RawPlace) -> int:
        """As `_read`, of every record in between; a copy of an aborted transaction is none."""
        needle = encode_header(ID_HEADER, raw.copy_id)
        async for hint in hints(self._consumer, place, start, end, needle):
            for record in await records_between(self._consumer, place, hint, hint + 1):
                if _copy_id(record) == raw.copy_id:
                    return int(record.offset)
        return -1

    async def _leap(self, place: TopicPartition, start: int, end: int, raw: RawPlace) -> int:
        """As `_read`, of copies that stand in order: ever further ahead, then halving."""
        low, high, step = start, end, FETCH_MAX
        at = start
        while low < high:
            found, own = await self._until_own(place, at, high, raw)
            if found >= 0:
                return found
            if own is not None and own <= raw.offset:
                low = await self._consumer.position(place)
            else:  # the copies that stand here come later than ours, or are of other partitions
                high = at
            ahead = low + step if high == end else (low + high) // 2
            at = max(low, min(ahead, high - 1))
            step *= 2
        return -1

    async def _until_own(
        self, place: TopicPartition, start: int, end: int, raw: RawPlace
    ) -> tuple[int, int | None]:
        """Offset of the copy, or -1, read until a copy of its raw partition comes, and whose."""
        self._consumer.seek(place, start)
        while await self._consumer.position(place) < end:
            own = None
            for record in await self._some(place):
                partition, offset = _raw_of(record)
                if partition == raw.partition:
                    if offset == raw.offset:
                        return int(record.offset), offset
                    own = offset if own is None else own
            if own is not None:
                return -1, own
        return -1, None

    async def _some(self, place: TopicPartition) -> list[Any]:
        batches = await fetched(self._consumer, place, max_records=FETCH_MAX)
        return list(batches.get(place, []))

    async def _absent(self, place: TopicPartition, raw: RawPlace) -> dict[str, str]:
        """Why a copy is not there: by retention, or against what is promised.

        The beginning is that of now: retention may have come by during the search.
        """
        if (await self._consumer.beginning_offsets([place]))[place] > 0:
            since = (await self._consumer.offsets_for_times({place: 0}))[place]
            if since is None or since.timestamp >= raw.timestamp:
                kept = "nothing" if since is None else f"from {format_instant(since.timestamp)} on"
                detail = f"the topic's retention has taken it; it holds {kept}"
                return {"found": "no_longer_recorded", "detail": detail}
        return {"found": "no", "detail": "it is not in the topic"}
