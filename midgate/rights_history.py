"""The rights as they were: the authorization log, read up to the versions somebody asks for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING, Any

from midgate.reading import FETCH_MAX, POLL_MS, reading
from streams.errors import EmptyLogError, InputError
from streams.instants import EXPECTED, parse_instant

if TYPE_CHECKING:
    from aiokafka import AIOKafkaConsumer, TopicPartition

    from midgate.rights_session import Session
    from streams.rights import Rights
    from streams.rights_snapshot import RightsSnapshot
    from streams.settings import KafkaSettings, LayoutSettings

LOG_ID_CHARACTERS = 8


class Moment:
    """A version of the rights and the instant to decide at."""

    def __init__(self, version: int, now_ms: int) -> None:
        self.version = version
        self.now_ms = now_ms


async def records_of(
    consumer: AIOKafkaConsumer, place: TopicPartition, start: int, end: int
) -> AsyncIterator[list[Any]]:
    """Committed records with start ≤ offset < end, some at a time."""
    consumer.seek(place, start)
    while await consumer.position(place) < end:
        batches = await consumer.getmany(place, timeout_ms=POLL_MS, max_records=FETCH_MAX)
        yield [record for record in batches.get(place, []) if record.offset < end]


async def snapshots_at(session: Session, versions: Iterable[int]) -> dict[int, RightsSnapshot]:
    """The rights at each version; the log is read once, and only if something changed since."""
    rights = session.rights
    present = session.follower.snapshot()
    # What was accepted last alters nothing above it: heartbeats and void changes do not count.
    unchanged_from = max(rights.subjects.values(), default=-1) + 1
    wanted = sorted(set(versions))
    found = {version: present for version in wanted if version >= unchanged_from}
    older = [version for version in wanted if version < unchanged_from]
    if older:
        found |= await replayed(session.settings.kafka, session.settings.layout, older)
    return found


async def replayed(
    kafka: KafkaSettings, layout: LayoutSettings, versions: list[int]
) -> dict[int, RightsSnapshot]:
    """The rights at each of some ascending versions, from the log's beginning."""
    from aiokafka import TopicPartition

    from streams.rights import Rights

    place = TopicPartition(layout.topics.authorization, 0)
    rights = Rights()
    found: dict[int, RightsSnapshot] = {}
    waiting = list(versions)
    async with reading(kafka) as consumer:
        consumer.assign([place])
        async for records in records_of(consumer, place, 0, versions[-1]):
            for record in records:
                while waiting and waiting[0] <= record.offset:
                    found[waiting.pop(0)] = _snapshot(rights, place)
                rights.apply(record.offset, record.timestamp, record.value)
    for version in waiting:
        found[version] = _snapshot(rights, place)
    return found


def _snapshot(rights: Rights, place: TopicPartition) -> RightsSnapshot:
    if not rights.version:
        raise EmptyLogError(f"{place.topic} is empty", hint="run `midgate topics apply`")
    return rights.snapshot(0.0)


async def moment_of(session: Session, text: str, present_ms: int) -> Moment:
    """What `--at` means: an instant, `now`, or a version (`1234` or `<log id>:1234`).

    An instant stands for the version that the log had then, by the broker's clock; a version for
    the instant of the record below it. Raises InputError.
    """
    end = session.follower.version
    if text in ("", "now"):
        return Moment(end, present_ms)
    log_id, _, number = text.rpartition(":")
    if number.isdigit() and "-" not in text and len(log_id) in (0, LOG_ID_CHARACTERS):
        version = int(number)
        if log_id and not session.rights.log_id.startswith(log_id):
            raise InputError(
                f"{text} is a version of another log", hint=f"this one is {session.rights.log_id}"
            )
        if not 0 < version <= end:
            raise InputError(f"there is no version {version}", hint=f"1 to {end}")
        return await _at_version(session, version, present_ms)
    try:
        instant_ms = parse_instant(text)
    except ValueError as error:
        raise InputError(
            f"--at {text} cannot be read", hint=f"expected {EXPECTED}, a version, or now"
        ) from error
    return Moment(await _version_at(session, instant_ms), instant_ms)


async def _at_version(session: Session, version: int, present_ms: int) -> Moment:
    from aiokafka import TopicPartition

    place = TopicPartition(session.settings.layout.topics.authorization, 0)
    async with reading(session.settings.kafka) as consumer:
        consumer.assign([place])
        # Heartbeats are compacted away, so the record below may be some way below.
        begin = max(0, version - FETCH_MAX)
        last = present_ms
        async for records in records_of(consumer, place, begin, version):
            for record in records:
                last = record.timestamp
    return Moment(version, last)


async def _version_at(session: Session, instant_ms: int) -> int:
    """The offset of the first record not before the instant; the end, when all are before it."""
    from aiokafka import TopicPartition

    place = TopicPartition(session.settings.layout.topics.authorization, 0)
    async with reading(session.settings.kafka) as consumer:
        found = (await consumer.offsets_for_times({place: max(0, instant_ms)}))[place]
    end = session.follower.version
    return end if found is None else max(1, min(end, found.offset))
