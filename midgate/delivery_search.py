"""Where an event was placed: the tenant topic read from the moment at which the event was received.

A copy has the timestamp of its raw record, so the first record of the tenant partition that is not
older stands at or before it. From there the partition is read until the copy's `ce_id` comes, for a
stated number of records at most. What is not found is told with the reason, never left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from midgate.reading import FETCH_MAX, POLL_MS
from streams.instants import format_instant

if TYPE_CHECKING:
    from aiokafka import AIOKafkaConsumer

    from streams.facts import Tenant

# About three seconds of reading; a lane that lagged by hours beside others may need more.
SEARCH_RECORDS_MAX = 200_000
ID_HEADER = "ce_id"


class RawPlace(NamedTuple):
    """A raw record's position, and when it was received."""

    partition: int
    offset: int
    timestamp: int

    @property
    def copy_id(self) -> bytes:
        """`ce_id` of its copies."""
        return b"%d-%d" % (self.partition, self.offset)


async def find_copy(consumer: AIOKafkaConsumer, tenant: Tenant, raw: RawPlace) -> dict[str, Any]:
    """Topic, partition and offset of a tenant's copy, or why there is none to be shown.

    `found`: `yes`; `no_longer_recorded`: the topic's retention may have taken it; `not_searched`:
    beyond the bound; `no`: it is not there and should be (`python -m auditor` tells more).
    """
    from aiokafka import TopicPartition

    place = TopicPartition(tenant.topic, raw.partition % tenant.partitions)
    told: dict[str, Any] = {
        "tenant": tenant.tenant_id,
        "topic": tenant.topic,
        "partition": place.partition,
        "offset": None,
    }
    known = await consumer._client.fetch_all_metadata()
    if not known.partitions_for_topic(tenant.topic):
        return {**told, "found": "no_longer_recorded", "detail": "the topic is gone"}
    consumer.assign([place])
    begin = (await consumer.beginning_offsets([place]))[place]
    end = (await consumer.end_offsets([place]))[place]
    first = (await consumer.offsets_for_times({place: max(0, raw.timestamp)}))[place]
    if first is not None:
        consumer.seek(place, first.offset)
        read = 0
        while await consumer.position(place) < end:
            batches = await consumer.getmany(place, timeout_ms=POLL_MS, max_records=FETCH_MAX)
            for record in batches.get(place, []):
                if dict(record.headers).get(ID_HEADER) == raw.copy_id:
                    return {**told, "offset": record.offset, "found": "yes", "detail": ""}
                read += 1
            if read >= SEARCH_RECORDS_MAX:
                detail = f"not among the {read:,} records that follow it in time"
                return {**told, "found": "not_searched", "detail": detail}
    if begin > 0:
        oldest = await consumer.offsets_for_times({place: 0})
        since = oldest[place]
        if since is None or since.timestamp >= raw.timestamp:
            kept = "nothing" if since is None else f"from {format_instant(since.timestamp)} on"
            detail = f"the topic's retention has taken it; it holds {kept}"
            return {**told, "found": "no_longer_recorded", "detail": detail}
    return {**told, "found": "no", "detail": "it is not in the topic"}
