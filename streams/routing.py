"""[core] The hot path: a batch of raw records in, the records of every tenant topic out.

Pure, and one loop over plain values: what is the same for a batch (its clock reading, the version)
or for a MID (its plan, the header that names the grant) is prepared once and looked up. No record
is built anew: a tenant gets the raw bytes, cut before `restricted`, and what all copies of an event
share is encoded once (`streams/record_format.py`).

A record that cannot be decided goes to quarantine with its reason, whatever is wrong with it: none
is dropped, and none raises. Formats: docs/authorization-log.md, "What stands in a tenant topic".
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from schemas.barcode import judge_number
from schemas.codec import MalformedRecordError, UnknownFrameError
from schemas.event_id import EVENT_ID_BYTES, event_id
from schemas.event_reader import EventFields, walk_event
from schemas.reasons import QuarantineReason, Reason
from streams.plans import Routes
from streams.raw_record import RawFields
from streams.record_format import (
    Header,
    OutRecord,
    PartitionRecords,
    encode_header,
    sized,
    varint,
)
from streams.rights_snapshot import RightsSnapshot

UNBOUNDED = 1 << 62
# What a copy costs in a produce request beyond key, value and source: names and values
# of the headers, with offsets and versions of 19 digits (140 bytes), the grant id (100) and the
# record's own framing.
COPY_OVERHEAD_BYTES = 320

# The headers of a copy: CloudEvents' four, ours three.
_HEADERS = 7
_SPEC_VERSION = ("ce_specversion", b"1.0")
_TYPE = ("ce_type", b"org.midgate.scan.v1")
_EVENT_ID_NAME = encode_header("mg-event", bytes(EVENT_ID_BYTES))[:-EVENT_ID_BYTES]
_LOG_ID_CHARACTERS = 8
_CHANNEL_UNKNOWN = QuarantineReason.CHANNEL_UNKNOWN.value
_MALFORMED_RECORD = QuarantineReason.MALFORMED_RECORD.value
_LABEL_NEEDED = Reason.LABEL_NEEDED.value
_UNKNOWN_FRAME = QuarantineReason.UNKNOWN_FRAME.value


class RoutedBatch(NamedTuple):
    """What becomes of the first `records` of a batch.

    `tenant` is by topic and partition, `quarantine` by partition. `next_offsets` is, for each raw
    partition, the offset to go on from. `delivered_events` went to at least one tenant,
    `delivered_copies` counts each tenant's; `withheld` and `quarantined` count events by reason.
    `bytes_out` is no less than the uncompressed bytes of all that is to be produced.
    """

    tenant: dict[tuple[str, int], PartitionRecords]
    quarantine: dict[int, list[OutRecord]]
    next_offsets: dict[int, int]
    records: int
    delivered_events: int
    delivered_copies: int
    withheld: Counter[str]
    quarantined: Counter[str]
    bytes_out: int


class _Batch:
    """What is the same for all records of a batch, and what becomes of them.

    `before_id` and `authz` are encoded headers.
    """

    __slots__ = (
        "authz",
        "before_id",
        "bytes_out",
        "bytes_out_max",
        "copies",
        "copy_bytes",
        "events",
        "next_offsets",
        "places",
        "quarantine",
        "quarantined",
        "records",
        "withheld",
    )

    def __init__(self, app_id: str, snapshot: RightsSnapshot, bytes_out_max: int) -> None:
        source = f"/midgate/{app_id}".encode()
        authz = f"{snapshot.log_id[:_LOG_ID_CHARACTERS]}:{snapshot.version}".encode()
        first = (_SPEC_VERSION, _TYPE, ("ce_source", source))
        headers = b"".join([encode_header(name, value) for name, value in first])
        self.before_id = varint(_HEADERS) + headers + sized(b"ce_id")
        self.authz = encode_header("mg-authz", authz)
        self.copy_bytes = COPY_OVERHEAD_BYTES + len(source)
        self.bytes_out_max = bytes_out_max
        self.places: dict[str, list[PartitionRecords]] = {}
        self.quarantine: dict[int, list[OutRecord]] = {}
        self.next_offsets: dict[int, int] = {}
        self.withheld: Counter[str] = Counter()
        self.quarantined: Counter[str] = Counter()
        self.records = self.events = self.copies = self.bytes_out = 0

    def takes(self, size: int) -> bool:
        """Count these bytes out, unless that would be too many and something stands before."""
        if self.bytes_out + size > self.bytes_out_max and self.records:
            return False
        self.bytes_out += size
        return True

    def deliver(
        self, record: RawFields, value: bytes, facts: EventFields, pic: bytes, routes: Routes
    ) -> bool:
        """Place a copy for each route; False, and nothing placed, where the batch is full."""
        partition, offset, timestamp, key, _, _ = record
        cut_at = facts[6]
        cut = value if len(value) == cut_at + 1 else value[:cut_at] + b"\0"
        sized_key = sized(key)
        if not self.takes(len(routes) * (len(cut) + len(sized_key) + self.copy_bytes)):
            return False
        ce_id = b"%d-%d" % (partition, offset)
        head = b"".join(
            (
                sized_key,
                varint(len(cut)),
                cut,
                self.before_id,
                varint(len(ce_id)),
                ce_id,
                _EVENT_ID_NAME,
                event_id(pic, facts),
                self.authz,
            )
        )
        places = self.places
        for _, topic, partitions, _, grant in routes:
            lists = places.get(topic)
            if lists is None:
                lists = places[topic] = [PartitionRecords() for _ in range(partitions)]
            lists[partition % partitions].append(timestamp, head, grant)
        self.events += 1
        self.copies += len(routes)
        return True

    def set_aside(self, record: RawFields, reason: str) -> bool:
        """Into quarantine: unchanged, with its headers, why, and where it came from."""
        partition, offset, timestamp, key, value, headers = record
        size = COPY_OVERHEAD_BYTES + len(value or b"") + len(key or b"") + _size(headers)
        if not self.takes(size):
            return False
        self.quarantined[reason] += 1
        origin = f"raw:{partition}-{offset}"
        more = [*headers, ("mg-reason", reason.encode()), ("mg-origin", origin.encode())]
        self.quarantine.setdefault(partition, []).append((key, value, timestamp, more))
        return True


def route_batch(
    records: Iterable[RawFields],
    snapshot: RightsSnapshot,
    now_ms: int,
    *,
    app_id: str,
    bytes_out_max: int = UNBOUNDED,
) -> RoutedBatch:
    """Decide every record on one snapshot at one instant, `now_ms` (Unix ms, `decided_at`).

    `records` are `RawRecord`s. Stops before the record that would bring the bytes out above
    `bytes_out_max`, unless it comes first: nothing smaller than a record can be placed. The caller
    goes on from `next_offsets`.
    """
    batch = _Batch(app_id, snapshot, bytes_out_max)
    _route(records, snapshot, now_ms, batch)
    return _sum_up(batch)


def _route(
    records: Iterable[RawFields], snapshot: RightsSnapshot, now_ms: int, batch: _Batch
) -> None:
    """The loop over the records; see `route_batch`."""
    # What `snapshot.plan` does first, written out: the call costs as much as the look-up.
    shards = snapshot.plan_shards
    mask = len(shards) - 1
    withheld, next_offsets = batch.withheld, batch.next_offsets
    for record in records:
        value = record[4] or b""
        try:
            facts = walk_event(value)
        except UnknownFrameError:
            mid, reason = b"", _UNKNOWN_FRAME
        except MalformedRecordError:
            mid, reason = b"", _MALFORMED_RECORD
        else:
            _, mid, pic, reason = judge_number(facts[0])
            channel = facts[5]
            if not channel:
                mid, reason = b"", _CHANNEL_UNKNOWN
        if mid:
            known = shards[hash(mid) & mask].get(mid)
            plan = known[channel] if known is not None else None
            if plan is None or not plan[2] <= now_ms < plan[3]:
                plan = snapshot.plan(mid, channel, now_ms)
            routes = plan[0]
            if not routes:
                withheld[plan[1].value] += 1
            elif not batch.deliver(record, value, facts, pic, routes):
                break
        elif reason == _LABEL_NEEDED:
            withheld[reason] += 1
        elif not batch.set_aside(record, reason):
            break
        next_offsets[record[0]] = record[1] + 1
        batch.records += 1


def _sum_up(batch: _Batch) -> RoutedBatch:
    tenant = {
        (topic, partition): records
        for topic, lists in batch.places.items()
        for partition, records in enumerate(lists)
        if records.count
    }
    return RoutedBatch(
        tenant=tenant,
        quarantine=batch.quarantine,
        next_offsets=batch.next_offsets,
        records=batch.records,
        delivered_events=batch.events,
        delivered_copies=batch.copies,
        withheld=batch.withheld,
        quarantined=batch.quarantined,
        bytes_out=batch.bytes_out,
    )


def _size(headers: Sequence[Header]) -> int:
    return sum(len(name) * 4 + len(value or b"") + 10 for name, value in headers)
