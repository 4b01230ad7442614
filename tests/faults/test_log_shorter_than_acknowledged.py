"""The authorization log is put back from a copy that was made before a revocation.

The copy has the right log id, and heartbeats carry it past every version. A lane that has
acknowledged the revocation must not decide on it; without the refusal it delivers by the grant.
"""

import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from streams import clients, deliverer
from streams.authorization_writer import AuthorizationWriter
from streams.changes import grant_end_change, heartbeat_change
from streams.errors import WrongLogError
from streams.follower import Follower
from streams.record_format import encode_records
from streams.rights import RightsSnapshot
from streams.settings import AuthorizationSettings, KafkaSettings, LayoutSettings
from tests.deliverer_support import (
    READY_S_MAX,
    InputRecord,
    Installation,
    RoutedRecords,
    input_records,
)
from tests.faults.rights import STAMP, grant_rights
from tests.transaction_support import make_topics, values

pytestmark = [pytest.mark.broker, pytest.mark.fault]

MID, API = "900000001", 1


@asynccontextmanager
async def older_copy(
    installed: Installation, records: list[bytes], heartbeats: int
) -> AsyncIterator[Installation]:
    """The same installation, but the log it follows is made of `records` and some heartbeats."""
    layout = LayoutSettings(prefix=f"{installed.layout.prefix}copy", app_id="copy")
    topic = layout.topics.authorization
    await make_topics(installed.kafka, topic)
    producer = clients.idempotent_producer(installed.kafka)
    await producer.start()
    for value in records:
        await producer.send_and_wait(topic, value, key=uuid.uuid4().bytes, partition=0)
    for _ in range(heartbeats):
        beat = heartbeat_change("n", change_id=uuid.uuid4().bytes, **STAMP)
        await producer.send_and_wait(topic, beat, key=b"heartbeat", partition=0)
    await producer.stop()
    follower = Follower(installed.kafka, layout, AuthorizationSettings(), heartbeat=True)
    writer = AuthorizationWriter(installed.kafka, layout, follower)
    await follower.start(ready_within_s=READY_S_MAX)
    await writer.start()
    try:
        yield replace(installed, follower=follower, writer=writer)
    finally:
        await writer.stop()
        await follower.stop()


def route(
    records: Sequence[InputRecord], snapshot: RightsSnapshot, decided_at_ms: int, bytes_out_max: int
) -> RoutedRecords:
    """Every record is an event of the one MID."""
    routes = snapshot.plan(MID.encode(), API, decided_at_ms).routes
    out: list[Any] = [(b"k", record.value, decided_at_ms, []) for record in records]
    return RoutedRecords(len(records), {(place.topic, 0): encode_records(out) for place in routes})


async def grant_then_revoke(installed: Installation) -> list[bytes]:
    """The log as it was before the revocation, which a lane has acknowledged."""
    await grant_rights(installed.kafka, installed.layout, {"owner": [MID]})
    before = await values(installed.kafka, installed.names.authorization)
    change_id = uuid.uuid4().bytes
    end = grant_end_change(f"owner-{MID}", change_id=change_id, **STAMP)
    await installed.writer.append(end, change_id, timeout_s=READY_S_MAX)
    lane = installed.lane()
    await lane.start()
    await lane.deliver(input_records(0, 1), route)
    await lane.stop()
    return before


async def delivered_to_owner(kafka: KafkaSettings, installed: Installation) -> list[bytes]:
    return await values(kafka, installed.names.tenant("owner"))


@pytest.mark.parametrize("heartbeats", [0, 30], ids=["short", "refilled with heartbeats"])
async def test_a_log_without_the_revocation_is_refused_for_good(
    kafka_settings: KafkaSettings, installed: Installation, heartbeats: int
) -> None:
    before = await grant_then_revoke(installed)
    async with older_copy(installed, before, heartbeats) as copy:
        lane = copy.lane()
        for _ in range(2):  # what is refused once leaves the evidence as it was
            with pytest.raises(WrongLogError, match=r"lacks change|ends at") as refused:
                await lane.start()
            assert refused.value.hint
    assert await delivered_to_owner(kafka_settings, installed) == []
    # The whole log is back.
    lane = installed.lane()
    assert (await lane.start())[0].offset == 1
    await lane.stop()


async def test_without_the_refusal_a_revoked_grant_delivers(
    kafka_settings: KafkaSettings, installed: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse_nothing(*_: object) -> None:
        return

    monkeypatch.setattr(deliverer, "refuse_lost_log", refuse_nothing)
    before = await grant_then_revoke(installed)
    async with older_copy(installed, before, 0) as copy:
        lane = copy.lane()
        await lane.start()
        await lane.deliver(input_records(1, 1), route)
        await lane.stop()
    assert await delivered_to_owner(kafka_settings, installed) == [b"0-1"]
