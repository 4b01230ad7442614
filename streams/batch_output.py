"""[core] What a batch puts out: the copies of every tenant topic, and what is set aside.

What all copies of an event share is encoded once (`streams/record_format.py`). Nothing is placed
that would bring the bytes out above their bound, and who is refused stops there.
Formats: docs/authorization-log.md, "What stands in a tenant topic".
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from schemas.event_id import EVENT_ID_BYTES, event_id
from schemas.event_reader import EventFields
from streams.billable import METERED_COPY_BYTES_MAX, BillableFacts
from streams.holds import HoldChanges
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

# What a copy costs in a produce request beyond key, value and source: names and values
# of the headers, with offsets and versions of 19 digits (140 bytes), the grant id (100) and the
# record's own framing.
COPY_OVERHEAD_BYTES = 320

# The headers of a copy: CloudEvents' four, ours three.
_HEADERS = 7
_SPEC_VERSION = ("ce_specversion", b"1.0")
_TYPE = ("ce_type", b"org.midgate.scan.v1")
_EVENT_ID_NAME = encode_header("mg-event", bytes(EVENT_ID_BYTES))[:-EVENT_ID_BYTES]
_LABEL_NAME = sized(b"mg-label")
_LOG_ID_CHARACTERS = 8


class RoutedBatch(NamedTuple):
    """What becomes of the first `records` of a batch.

    `tenant` is by topic and partition, `quarantine` by partition. `next_offsets` is, for each raw
    partition, the offset to go on from. `delivered_events` went to at least one tenant,
    `delivered_copies` counts each tenant's; `withheld` and `quarantined` count events by reason.
    `holds` is what becomes of events that wait for a label; one that begins to wait is not withheld
    as yet.
    `bytes_out` is no less than the uncompressed bytes of all records that are to be produced.
    """

    tenant: dict[tuple[str, int], PartitionRecords]
    quarantine: dict[int, list[OutRecord]]
    metering: dict[int, list[OutRecord]]
    next_offsets: dict[int, int]
    records: int
    delivered_events: int
    delivered_copies: int
    withheld: Counter[str]
    quarantined: Counter[str]
    bytes_out: int
    holds: HoldChanges


class Batch:
    """What is the same for all records of a batch, and what becomes of them.

    `before_id` and `authz` are encoded headers; `labelled` is `before_id` of a copy with one header
    more, the label that counted.
    """

    __slots__ = (
        "authz",
        "before_id",
        "billable",
        "bytes_out",
        "bytes_out_max",
        "copies",
        "copy_bytes",
        "events",
        "holds",
        "labelled",
        "next_offsets",
        "places",
        "quarantine",
        "quarantined",
        "records",
        "withheld",
    )

    def __init__(
        self, app_id: str, snapshot: RightsSnapshot, now_ms: int, bytes_out_max: int
    ) -> None:
        source = f"/midgate/{app_id}".encode()
        authz = f"{snapshot.log_id[:_LOG_ID_CHARACTERS]}:{snapshot.version}".encode()
        first = (_SPEC_VERSION, _TYPE, ("ce_source", source))
        headers = b"".join([encode_header(name, value) for name, value in first])
        self.before_id = varint(_HEADERS) + headers + sized(b"ce_id")
        self.labelled = varint(_HEADERS + 1) + headers + sized(b"ce_id")
        self.authz = encode_header("mg-authz", authz)
        self.copy_bytes = COPY_OVERHEAD_BYTES + METERED_COPY_BYTES_MAX + len(source)
        self.bytes_out_max = bytes_out_max
        self.billable = BillableFacts(now_ms)
        self.places: dict[str, list[PartitionRecords]] = {}
        self.quarantine: dict[int, list[OutRecord]] = {}
        self.next_offsets: dict[int, int] = {}
        self.withheld: Counter[str] = Counter()
        self.quarantined: Counter[str] = Counter()
        self.holds = HoldChanges()
        self.records = self.events = self.copies = self.bytes_out = 0

    def takes(self, size: int) -> bool:
        """Count these bytes out, unless that would be too many and something stands before."""
        if self.bytes_out + size > self.bytes_out_max and (self.records or self.bytes_out):
            return False
        self.bytes_out += size
        return True

    def deliver(
        self,
        record: RawFields,
        value: bytes,
        facts: EventFields,
        pic: bytes,
        routes: Routes,
        label: bytes = b"",
        more_bytes: int = 0,
    ) -> bool:
        """Place a copy for each route; False, and nothing placed, where the batch is full.

        A copy is cut before its restricted part, unless the route's right carries that.
        `label` is the one that named the owner, as its header says it. `more_bytes` go out with
        the copies, or nothing does.
        """
        partition, offset, timestamp, key, _, _ = record
        cut_at = facts[6]
        cut = value if len(value) == cut_at + 1 else value[:cut_at] + b"\0"
        sized_key = sized(key)
        before_id, behind_id = self.before_id, self.authz
        size = len(value) + len(sized_key) + self.copy_bytes
        if label:
            before_id = self.labelled
            behind_id = b"".join((behind_id, _LABEL_NAME, sized(label)))
            size += len(behind_id) - len(self.authz)
        if not self.takes(len(routes) * size + more_bytes):
            return False
        ce_id = b"%d-%d" % (partition, offset)
        behind = b"".join(
            (
                before_id,
                varint(len(ce_id)),
                ce_id,
                _EVENT_ID_NAME,
                event_id(pic, facts),
                behind_id,
            )
        )
        head = b"".join((sized_key, varint(len(cut)), cut, behind))
        whole = b""
        places = self.places
        for route in routes:
            _, topic, partitions, right, grant, metered = route
            if metered:
                self.billable.add(partition, offset, pic, facts[5], route)
            content = head
            if right[1] and cut is not value:  # the right to the restricted part
                whole = whole or b"".join((sized_key, varint(len(value)), value, behind))
                content = whole
            lists = places.get(topic)
            if lists is None:
                lists = places[topic] = [PartitionRecords() for _ in range(partitions)]
            lists[partition % partitions].append(timestamp, content, grant)
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

    def sum_up(self) -> RoutedBatch:
        """All of it, by place."""
        tenant = {
            (topic, partition): records
            for topic, lists in self.places.items()
            for partition, records in enumerate(lists)
            if records.count
        }
        if self.copies:
            self.billable.add_rest(self._a_partition(), self.copies)
        return RoutedBatch(
            tenant=tenant,
            metering=self.billable.records(),
            quarantine=self.quarantine,
            next_offsets=self.next_offsets,
            records=self.records,
            delivered_events=self.events,
            delivered_copies=self.copies,
            withheld=self.withheld,
            quarantined=self.quarantined,
            bytes_out=self.bytes_out,
            holds=self.holds,
        )

    def _a_partition(self) -> int:
        """The lowest raw partition of the batch; one of held events alone has those of them."""
        if self.next_offsets:
            return min(self.next_offsets)
        return min(held.record.partition for held in self.holds.decided)


def _size(headers: Sequence[Header]) -> int:
    return sum(len(name) * 4 + len(value or b"") + 10 for name, value in headers)
