"""The values a deliverer writes, and the input it refuses."""

from typing import NamedTuple

import pytest
from aiokafka import TopicPartition

from schemas.codec import decode
from streams.delivery import (
    DelivererIdentity,
    LabelState,
    MissingOffsetError,
    StartPoint,
    input_offsets,
    ledger_records,
    reached,
    registration,
    start_points,
)
from streams.holds import Held, HoldChanges
from streams.raw_record import RawRecord
from streams.topics import TopicNames

IDENTITY = DelivererIdentity(
    transactional_id="app-router-1",
    kind="LANE",
    app_id="app",
    lane=1,
    lanes=2,
    partitions=4,
    inputs=(2, 3),
    group="app-router",
    ack=TopicPartition("midgate.ledger", 1),
    topics=TopicNames(),
    build="test",
)


class SnapshotOf(NamedTuple):
    log_id: str
    version: int
    confirmed_at: float


SNAPSHOT = SnapshotOf("log", 9, 0.0)


class Place(NamedTuple):
    partition: int
    offset: int


def test_positions_after_a_batch_are_those_behind_its_last_records() -> None:
    records = [Place(2, 10), Place(2, 14), Place(3, 5)]
    assert reached(records, {2: 10, 3: 4}) == {2: 15, 3: 6}
    assert reached([], {2: 10}) == {}


@pytest.mark.parametrize(
    "records",
    [[Place(2, 9)], [Place(2, 11), Place(2, 11)], [Place(2, 12), Place(2, 11)], [Place(0, 50)]],
    ids=["below", "twice", "back", "foreign"],
)
def test_what_would_double_events_is_refused(records: list[Place]) -> None:
    with pytest.raises(AssertionError):
        reached(records, {2: 10, 3: 0})


def test_start_points_are_what_was_committed() -> None:
    labels = LabelState({2: 9})
    offsets = input_offsets(IDENTITY, {2: 17, 3: 0}, 1234, labels)
    assert start_points(IDENTITY, offsets) == {
        2: StartPoint(17, 1234, 9),
        3: StartPoint(0, 1234, 0),
    }


def test_a_missing_offset_is_an_error_with_a_hint() -> None:
    with pytest.raises(MissingOffsetError, match=r"midgate\.raw-3") as missing:
        start_points(IDENTITY, input_offsets(IDENTITY, {2: 17}, decided_at_ms=0))
    assert "midgate topics apply" in missing.value.hint


def test_a_registration_says_who_and_where() -> None:
    name, envelope = decode(registration(IDENTITY, "mine", (7, 3), b"c" * 16))
    assert (name, envelope["kind"]) == ("authorization_change", "DELIVERER")
    assert envelope["subject"] == "deliverer/app-router-1"
    _, body = decode(envelope["body"])
    assert body["nonce"] == "mine"
    assert (body["producer_id"], body["producer_epoch"]) == (7, 3)
    assert (body["ack_group"], body["ack_topic"], body["ack_partition"]) == (
        "app-router",
        "midgate.ledger",
        1,
    )


def test_held_events_make_an_entry_of_the_second_version_and_only_theirs() -> None:
    def held(partition: int, offset: int) -> Held:
        return Held(b"1", RawRecord(partition, offset, 0, b"1", b"x"), 5)

    holds = HoldChanges([held(2, 4), held(2, 3)], [held(2, 1)], [held(2, 9)], [(2, 8)])
    labels = LabelState({2: 40, 3: 50}, hold_ms=60_000)
    spans = {2: (7, 10), 3: (1, 2)}
    entries = ledger_records(IDENTITY, "mine", SNAPSHOT, spans, 1234, labels, holds)
    _, second = decode(entries[2][1])
    assert entries[2][1][:5] == b"\0\0\0\0\x05"
    assert (second["raw_from"], second["raw_next"], second["label_position"]) == (7, 10, 40)
    assert second["decided_anew"] == [4, 3]
    assert (second["given_up"], second["not_held"], second["hold_ms"]) == ([1], [8], 60_000)
    _, first = decode(entries[3][1])
    assert entries[3][1][:5] == b"\0\0\0\0\x02"
    assert first["label_position"] == 50
