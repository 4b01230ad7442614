"""Start order and numbered steps of a deliverer, on a real broker and a real authorization log."""

import pytest
from aiokafka import TopicPartition

from streams.acknowledgement import Acknowledgement, decode_decided_at
from streams.changes import change
from streams.deliverer import DeposedError, MissingOffsetError
from streams.errors import ChangeVoidError
from streams.settings import KafkaSettings, LayoutSettings
from streams.topics import TopicNames
from tests.deliverer_support import (
    Installation,
    input_records,
    installation,
    route_all_to,
)

pytestmark = pytest.mark.broker


async def test_a_batch_is_placed_with_its_offsets_ledger_and_acknowledgement(
    installed: Installation,
) -> None:
    lane = installed.lane()
    points = await lane.start()
    assert {partition: point.offset for partition, point in points.items()} == {0: 0, 1: 0}
    records = [*input_records(0, 3), *input_records(5, 2, partition=1)]
    delivered = await lane.deliver(records, route_all_to(installed.tenant))
    assert delivered.records == 5
    assert lane.acknowledged_version == delivered.version
    registration = installed.follower.rights.deliverers[lane.identity.transactional_id]
    await lane.stop()

    assert await installed.delivered() == [record.value for record in records]
    (entry,) = await installed.ledger(1)
    assert (entry["raw_from"], entry["raw_next"]) == (0, 7)
    assert entry["registration"] == registration.nonce
    assert entry["version"] == delivered.version
    assert entry["decided_at"] == delivered.decided_at_ms
    acknowledged = await installed.acknowledged()
    assert isinstance(acknowledged, Acknowledgement)
    assert acknowledged.version == delivered.version
    assert acknowledged.log_id == installed.follower.rights.log_id
    assert acknowledged.registration == registration.nonce
    assert acknowledged.producer_id == registration.producer_id
    offsets = await installed.offsets()
    raw = [offsets[TopicPartition(installed.names.raw, partition)] for partition in (0, 1)]
    assert [found.offset for found in raw] == [3, 7]
    assert [decode_decided_at(found.metadata) for found in raw] == [delivered.decided_at_ms] * 2


async def test_what_comes_out_too_large_is_cut(installed: Installation) -> None:
    lane = installed.lane(batch_bytes_out_max=2048)
    await lane.start()
    large = [record._replace(value=bytes(1000)) for record in input_records(0, 8)]
    rest = list(large)
    offered: list[tuple[int, int]] = []
    route = route_all_to(installed.tenant)

    def bounded(records, snapshot, decided_at_ms, bytes_out_max):  # type: ignore[no-untyped-def]
        offered.append((records[0].offset, bytes_out_max))
        return route(records, snapshot, decided_at_ms, bytes_out_max)

    while rest:
        delivered = await lane.deliver(rest, bounded)
        # Asked once, with the bound: nothing larger is ever built, only to be thrown away.
        assert offered.pop() == (rest[0].offset, 2048)
        assert not offered
        assert delivered.routed.bytes_out <= 2048
        rest = rest[delivered.records :]
    await lane.stop()
    assert len(await installed.delivered()) == 8
    spans = [(entry["raw_from"], entry["raw_next"]) for entry in await installed.ledger()]
    assert len(spans) > 1
    assert [start for start, _ in spans] == [0, *(end for _, end in spans[:-1])]
    assert spans[-1][1] == 8


async def test_an_idle_lane_acknowledges(installed: Installation) -> None:
    lane = installed.lane()
    await lane.start()
    await lane.deliver(input_records(0, 1), route_all_to(installed.tenant))
    tenant_end = change(
        "TENANT_END", {"tenant_id": "nobody"}, actor="t", reason="t", change_id=b"x" * 16
    )
    applied = await installed.writer.append(tenant_end, b"x" * 16)
    version = await lane.acknowledge()
    assert version > applied.offset
    await lane.stop()
    acknowledged = await installed.acknowledged()
    assert isinstance(acknowledged, Acknowledgement)
    assert acknowledged.version == version
    offsets = await installed.offsets()
    assert offsets[TopicPartition(installed.names.raw, 0)].offset == 1


async def test_the_clock_of_a_lane_never_goes_back(installed: Installation) -> None:
    ahead = installed.lane(clock_ms=lambda: 5_000_000)
    await ahead.start()
    first = await ahead.deliver(input_records(0, 1), route_all_to(installed.tenant))
    await ahead.stop()
    behind = installed.lane(clock_ms=lambda: 4_000_000)
    points = await behind.start()
    assert points[0].decided_at_ms == first.decided_at_ms == 5_000_000
    second = await behind.deliver(input_records(1, 1), route_all_to(installed.tenant))
    await behind.stop()
    assert second.decided_at_ms == 5_000_000


async def test_a_registration_outside_the_layout_is_void(installed: Installation) -> None:
    layout = installed.layout
    installed.layout = layout.model_copy(update={"lanes": 4})
    with pytest.raises(ChangeVoidError) as void:
        await installed.lane().start()
    assert "layout" in void.value.reason


async def test_a_later_registration_deposes(installed: Installation) -> None:
    first = installed.lane()
    await first.start()
    second = installed.lane()
    await second.start()
    with pytest.raises(DeposedError):
        await first.deliver(input_records(0, 1), route_all_to(installed.tenant))
    assert not first.started
    await first.stop()
    await second.deliver(input_records(0, 1), route_all_to(installed.tenant))
    await second.stop()
    assert len(await installed.delivered()) == 1


async def test_a_missing_offset_is_never_guessed(
    kafka_settings: KafkaSettings, layout_settings: LayoutSettings, midgate_topics: TopicNames
) -> None:
    """An installation whose group lost its offsets: another group has none."""
    async with installation(kafka_settings, layout_settings) as installed:
        lane = installed.lane()
        object.__setattr__(lane.identity, "group", f"{layout_settings.prefix}-nobody")
        with pytest.raises(MissingOffsetError, match="no committed offset") as missing:
            await lane.start()
        assert "midgate topics apply" in missing.value.hint


async def test_who_is_not_the_owner_fences_nobody(installed: Installation) -> None:
    owner = installed.lane()
    await owner.start()

    async def not_ours() -> bool:
        return False

    other = installed.lane(still_owner=not_ours)
    with pytest.raises(DeposedError):
        await other.start()
    await owner.deliver(input_records(0, 1), route_all_to(installed.tenant))
    await owner.stop()


async def test_a_step_back_in_the_input_is_refused(installed: Installation) -> None:
    lane = installed.lane()
    await lane.start()
    await lane.deliver(input_records(0, 3), route_all_to(installed.tenant))
    with pytest.raises(AssertionError):
        await lane.deliver(input_records(2, 1), route_all_to(installed.tenant))
    assert not lane.started
    await lane.stop()
    assert len(await installed.delivered()) == 3
