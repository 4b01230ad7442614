"""The mark of a start keeps what was acknowledged; a log that lacks it is refused."""

import pytest
from aiokafka import TopicPartition
from aiokafka.structs import OffsetAndMetadata

from streams.acknowledged import (
    Acknowledged,
    acknowledged,
    refuse_lost_log,
    shows_nonce,
    start_mark,
)
from streams.acknowledgement import Acknowledgement, encode_acknowledgement
from streams.delivery import DelivererIdentity
from streams.errors import LeaseExpiredError, WrongLogError
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
CHANGE = b"c" * 16
BEFORE = Acknowledged("log", 8, CHANGE.hex())
NOTHING = Acknowledged("", 0, "")


class Following:
    """A log as a follower would show it; `problem` is its own."""

    lease_max_s = 0.01

    def __init__(self, version: int, *changes: bytes, log_id: str = "log") -> None:
        self.version, self.log_id, self.changes = version, log_id, changes
        self.last_change_id = changes[-1] if changes else b""
        self.problem: str | None = None
        self.rights = self

    def has_change(self, change_id: bytes) -> bool:
        return change_id in self.changes

    def snapshot(self) -> None:
        raise AssertionError("nothing is decided here")

    async def wait_for_version(self, version: int, timeout_s: float) -> None:
        if version > self.version:
            raise LeaseExpiredError("not reached")


def test_only_this_very_nonce_counts() -> None:
    mark = start_mark(IDENTITY, "mine", NOTHING, Following(5), 5)
    assert shows_nonce(IDENTITY, "mine", mark)
    assert not shows_nonce(IDENTITY, "another", mark)
    assert not shows_nonce(IDENTITY, "mine", {})
    assert not shows_nonce(IDENTITY, "mine", {IDENTITY.ack: OffsetAndMetadata(5, "")})


def test_an_acknowledgement_is_evidence() -> None:
    said = encode_acknowledgement(Acknowledgement("log", 8, "n", 1, 2, CHANGE.hex()))
    assert acknowledged(OffsetAndMetadata(8, said)) == BEFORE
    assert acknowledged(None) == NOTHING
    assert acknowledged(OffsetAndMetadata(8, "?")) == Acknowledged("", 8, "")


def test_the_mark_of_a_start_keeps_the_evidence() -> None:
    older = Following(7, b"d" * 16)
    assert acknowledged(start_mark(IDENTITY, "n", BEFORE, older, 7)[IDENTITY.ack]) == BEFORE
    newer = Following(9, CHANGE, b"d" * 16)
    kept = acknowledged(start_mark(IDENTITY, "n", BEFORE, newer, 9)[IDENTITY.ack])
    assert kept == Acknowledged("log", 9, CHANGE.hex())
    first = acknowledged(start_mark(IDENTITY, "n", NOTHING, newer, 9)[IDENTITY.ack])
    assert first == Acknowledged("log", 9, (b"d" * 16).hex())


@pytest.mark.parametrize(
    ("before", "follower"),
    [(BEFORE, Following(8, CHANGE)), (BEFORE, Following(20, CHANGE)), (NOTHING, Following(1))],
    ids=["just there", "beyond", "nothing acknowledged"],
)
async def test_a_log_that_holds_it_all_is_taken(before: Acknowledged, follower: Following) -> None:
    await refuse_lost_log(before, follower)


@pytest.mark.parametrize(
    ("follower", "why"),
    [
        (Following(20, CHANGE, log_id="other"), "this log is other"),
        (Following(7), "ends at 7, this lane has acknowledged 8"),
        (Following(7, CHANGE), "ends at 7"),
        (Following(20, b"d" * 16), "lacks change 6363"),
    ],
    ids=["another log", "short", "short of heartbeats", "refilled with heartbeats"],
)
async def test_a_log_that_lacks_some_is_refused(follower: Following, why: str) -> None:
    with pytest.raises(WrongLogError, match=why) as refused:
        await refuse_lost_log(BEFORE, follower)
    assert refused.value.hint


async def test_a_follower_that_cannot_tell_accuses_nobody() -> None:
    follower = Following(7)
    follower.problem = "no broker answers"
    with pytest.raises(LeaseExpiredError):
        await refuse_lost_log(BEFORE, follower)
