"""What a deliverer works with, and the values it writes; no connection, no clock.

The protocols say how little a deliverer needs of the router's core, the follower and the writer,
so that lanes, and any later deliverer, run through the same `streams/deliverer.py`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from aiokafka import TopicPartition
from aiokafka.structs import OffsetAndMetadata

from schemas.codec import encode
from streams.acknowledgement import (
    Acknowledgement,
    decode_decided_at,
    encode_acknowledgement,
    encode_decided_at,
)
from streams.changes import build_change
from streams.errors import ChangeVoidError, LeaseExpiredError, MidgateError
from streams.group_offsets import Offsets
from streams.holds import HoldChanges
from streams.record_format import OutRecord, PartitionRecords
from streams.topics import TopicNames


class DeposedError(MidgateError):
    """Somebody else owns the input, or registered our id after us. Go back to the start order."""


class MissingOffsetError(MidgateError):
    """A raw partition has no committed offset; guessing one would lose or double events."""


START_KEY = b"start"
NONCE_HEADER = "mg-nonce"
"""The record by which a lane finds its own start in `<prefix>.holds`: a null under a key that is no
PIC, with the nonce of the start."""


class Record(Protocol):
    """An input record: a `RawRecord`, or what stands in for one."""

    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...


class Routed(Protocol):
    """What the pure core made of the first `records` of a batch."""

    @property
    def records(self) -> int: ...
    @property
    def tenant(self) -> Mapping[tuple[str, int], PartitionRecords]: ...
    @property
    def quarantine(self) -> Mapping[int, Sequence[OutRecord]]: ...
    @property
    def metering(self) -> Mapping[int, Sequence[OutRecord]]: ...
    @property
    def bytes_out(self) -> int: ...
    @property
    def holds(self) -> HoldChanges: ...


class Snapshot(Protocol):
    """An immutable index of the rights; `confirmed_at` is monotonic seconds."""

    @property
    def log_id(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def confirmed_at(self) -> float: ...


class Registrations(Protocol):
    """The live state of the rights: registrations by transactional id, and which log it is of.

    `last_change_id` is that of the last change read in this process; empty before the first.
    """

    @property
    def log_id(self) -> str: ...
    @property
    def last_change_id(self) -> bytes: ...
    def has_change(self, change_id: bytes) -> bool: ...
    @property
    def deliverers(self) -> Mapping[str, Any]: ...


SnapshotT_co = TypeVar("SnapshotT_co", bound=Snapshot, covariant=True)


class FollowerOf(Protocol[SnapshotT_co]):
    """What is needed of the follower of the authorization log."""

    @property
    def rights(self) -> Registrations: ...
    @property
    def version(self) -> int: ...
    @property
    def problem(self) -> str | None: ...
    @property
    def lease_max_s(self) -> float: ...
    def snapshot(self) -> SnapshotT_co: ...
    async def wait_for_version(self, version: int, timeout_s: float) -> None: ...


@dataclass(frozen=True, slots=True)
class LabelState:
    """On what labels a batch is decided: positions by partition; how long an event waits for one.

    A deliverer without labels has no positions.
    """

    positions: Mapping[int, int] = field(default_factory=dict)
    hold_ms: int = 0


NO_LABELS = LabelState()


class Writer(Protocol):
    """Appends a change and returns our own follower's verdict on it."""

    async def append(self, change: bytes, change_id: bytes, *, timeout_s: float) -> Any: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DelivererIdentity:
    """Who a deliverer is: what its registration says, and where its input and offsets are."""

    transactional_id: str
    kind: str  # a symbol of the registration's DelivererKind
    app_id: str
    lane: int  # -1 when it is no lane
    lanes: int
    partitions: int  # P of the layout
    inputs: tuple[int, ...]  # its raw partitions
    group: str
    ack: TopicPartition
    topics: TopicNames
    build: str

    @property
    def holds(self) -> bool:
        """Whether events wait for labels with it: only lanes have holds."""
        return self.lane >= 0


@dataclass(frozen=True, slots=True)
class StartPoint:
    """Where a raw partition goes on: the next offset, and when the last batch was decided.

    `label_position`: the largest position of the partition's labels that was decided on.
    """

    offset: int
    decided_at_ms: int
    label_position: int


RecordT = TypeVar("RecordT", bound=Record)
RoutedT = TypeVar("RoutedT", bound=Routed)
SnapshotT = TypeVar("SnapshotT", bound=Snapshot)


@dataclass(frozen=True, slots=True)
class Delivered(Generic[RoutedT]):
    """A committed batch: the first `records` of what was given."""

    records: int
    routed: RoutedT
    version: int
    decided_at_ms: int


def start_points(identity: DelivererIdentity, offsets: Offsets) -> dict[int, StartPoint]:
    """Where each input partition goes on. Raises MissingOffsetError, never guesses."""
    points: dict[int, StartPoint] = {}
    for partition in identity.inputs:
        found = offsets.get(TopicPartition(identity.topics.raw, partition))
        if found is None:
            raise MissingOffsetError(
                f"group {identity.group} has no committed offset for "
                f"{identity.topics.raw}-{partition}",
                hint="run `midgate topics apply`; if it had been run, find out why the "
                "offset is gone before going on",
            )
        labels = offsets.get(TopicPartition(identity.topics.labels, partition))
        points[partition] = StartPoint(
            found.offset,
            decode_decided_at(found.metadata),
            0 if labels is None else labels.offset,
        )
    return points


def registration(
    identity: DelivererIdentity, nonce: str, producer: tuple[int, int], change_id: bytes
) -> bytes:
    """The change that registers one start; `producer` is id and epoch after initialisation."""
    body = {
        "nonce": nonce,
        "transactional_id": identity.transactional_id,
        "producer_id": producer[0],
        "producer_epoch": producer[1],
        "kind": identity.kind,
        "app_id": identity.app_id,
        "lane": identity.lane,
        "lanes": identity.lanes,
        "partitions": identity.partitions,
        "ack_group": identity.group,
        "ack_topic": identity.ack.topic,
        "ack_partition": identity.ack.partition,
        "build": identity.build,
    }
    return build_change(
        "DELIVERER",
        f"deliverer/{identity.transactional_id}",
        body,
        base=-1,
        actor=identity.transactional_id,
        reason="start",
        change_id=change_id,
        restricting=False,
    )


def refuse_void(identity: DelivererIdentity, nonce: str, applied: Any) -> None:
    """Raise ChangeVoidError unless this very registration was accepted."""
    if applied.verdict != "accepted" or applied.body["nonce"] != nonce:
        raise ChangeVoidError(
            f"the registration of {identity.transactional_id} was not accepted: {applied.verdict}",
            reason=applied.verdict,
        )


def check_lease(snapshot: Snapshot, now_s: float, lease_max_s: float) -> None:
    """Raise LeaseExpiredError when the snapshot's confirmation is too old, in monotonic seconds."""
    age_s = now_s - snapshot.confirmed_at
    if not age_s <= lease_max_s:
        raise LeaseExpiredError(
            f"the rights were confirmed {age_s:.1f} s ago, the lease is {lease_max_s:g} s",
            hint="look at the connection to the authorization log",
        )


def acknowledging(
    identity: DelivererIdentity,
    nonce: str,
    producer: tuple[int, int],
    snapshot: Snapshot,
    change_id: bytes,
) -> Offsets:
    """The acknowledgement key's offset in a batch's transaction; `change_id` is in the snapshot."""
    metadata = encode_acknowledgement(
        Acknowledgement(
            log_id=snapshot.log_id,
            version=snapshot.version,
            registration=nonce,
            producer_id=producer[0],
            producer_epoch=producer[1],
            change_id=change_id.hex(),
        )
    )
    return {identity.ack: OffsetAndMetadata(snapshot.version, metadata)}


def input_offsets(
    identity: DelivererIdentity,
    positions: Mapping[int, int],
    decided_at_ms: int,
    labels: LabelState = NO_LABELS,
) -> Offsets:
    """Offsets of all raw partitions of the deliverer, with the floor of later clock readings, and
    of the labels that it decides on."""
    metadata = encode_decided_at(decided_at_ms)
    offsets = {
        TopicPartition(identity.topics.raw, partition): OffsetAndMetadata(offset, metadata)
        for partition, offset in positions.items()
    }
    for partition, position in labels.positions.items():
        offsets[TopicPartition(identity.topics.labels, partition)] = OffsetAndMetadata(position, "")
    return offsets


def start_records(nonce: str, now_ms: int) -> list[OutRecord]:
    """What a start leaves in each holds partition: whoever has read it knows all holds before."""
    return [(START_KEY, None, now_ms, [(NONCE_HEADER, nonce.encode())])]


def reached(records: Iterable[Record], positions: Mapping[int, int]) -> dict[int, int]:
    """Next offset of each partition among `records`.

    A foreign partition, or an offset below what was delivered, would double events. It cannot
    happen after the caller's seek, and is checked all the same: nothing later would notice.
    """
    after: dict[int, int] = {}
    for record in records:
        partition, offset = record.partition, record.offset
        expected = after.get(partition, positions.get(partition, -1))
        assert 0 <= expected <= offset, f"partition {partition}: {offset} after {expected}"
        after[partition] = offset + 1
    return after


def ledger_records(
    identity: DelivererIdentity,
    nonce: str,
    snapshot: Snapshot,
    spans: Mapping[int, tuple[int, int]],
    decided_at_ms: int,
    labels: LabelState = NO_LABELS,
    holds: HoldChanges | None = None,
) -> dict[int, OutRecord]:
    """The ledger entry of each input partition; `spans` are raw offsets from and next.

    An entry has the second version only where events began to wait, were decided or given up, or
    found no room.
    """
    key = str(identity.lane).encode()
    waited = {} if holds is None else _by_partition(holds)
    records: dict[int, OutRecord] = {}
    for partition, (raw_from, raw_next) in spans.items():
        entry = {
            "deliverer": identity.transactional_id,
            "registration": nonce,
            "partition": partition,
            "raw_from": raw_from,
            "raw_next": raw_next,
            "label_position": labels.positions.get(partition, -1),
            "log_id": snapshot.log_id,
            "version": snapshot.version,
            "decided_at": decided_at_ms,
            "build": identity.build,
        }
        version = 1
        if partition in waited:
            version = 2
            entry |= {**waited[partition], "hold_ms": labels.hold_ms}
        value = encode("ledger_entry", entry, version)
        records[partition] = (key, value, decided_at_ms, [])
    return records


def _by_partition(holds: HoldChanges) -> dict[int, dict[str, list[int]]]:
    """Raw offsets of held events by partition, as the ledger names them."""
    found: dict[int, dict[str, list[int]]] = {held.place[0]: {} for held in holds.added}
    for name, places in (
        ("decided_anew", [held.place for held in holds.decided]),
        ("given_up", [held.place for held in holds.given_up]),
        ("not_held", holds.unheld),
    ):
        for partition, offset in places:
            found.setdefault(partition, {}).setdefault(name, []).append(offset)
    return found
