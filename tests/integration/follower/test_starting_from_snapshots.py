"""Local snapshots: what a start takes from them, and when it does not."""

import stat
from pathlib import Path

import pytest

from streams.errors import WrongLogError
from streams.follower import Follower
from streams.rights import Applied
from streams.settings import AuthorizationSettings, KafkaSettings, LayoutSettings
from streams.snapshot_store import SnapshotStore
from streams.topics import TopicNames
from streams.topics_admin import apply_topics
from tests.log_support import (
    LEASE_S,
    WAIT_S_MAX,
    append,
    following,
    grant,
    revocation,
    tenant,
    until,
)
from tests.transaction_support import delete_topics

pytestmark = pytest.mark.broker

MANY = 120


async def leave_snapshot(
    kafka: KafkaSettings, layout: LayoutSettings, folder: Path
) -> tuple[Path, str]:
    """Fill the log, follow it, stop: the one file that is left, and the log's id."""
    changes = [tenant(layout), *(grant(f"g{number}") for number in range(MANY))]
    await append(kafka, layout, *changes)
    async with following(kafka, layout, heartbeat=False, snapshots=folder) as follower:
        log_id = follower.rights.log_id
    path = SnapshotStore(folder, layout.prefix).path(log_id)
    assert path is not None
    return path, log_id


async def read_offsets(
    kafka: KafkaSettings, layout: LayoutSettings, folder: Path | None
) -> tuple[list[int], bytes]:
    """Which offsets a start reads, and the chain it comes to."""
    settings = AuthorizationSettings(authorization_staleness_s_max=LEASE_S, snapshot_dir=folder)
    follower = Follower(kafka, layout, settings, heartbeat=False)
    seen: list[Applied] = []
    follower.on_applied.append(seen.append)
    await follower.start(ready_within_s=WAIT_S_MAX)
    await follower.stop()
    return [applied.offset for applied in seen], follower.rights.chain


async def test_a_start_reads_only_the_tail(
    kafka_settings: KafkaSettings,
    layout_settings: LayoutSettings,
    midgate_topics: TopicNames,
    tmp_path: Path,
) -> None:
    folder = tmp_path / "snapshots"
    path, log_id = await leave_snapshot(kafka_settings, layout_settings, folder)
    assert path.name == f"{layout_settings.prefix}.{log_id}.rights"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    offset = await append(kafka_settings, layout_settings, revocation("g7"))
    offsets, chain = await read_offsets(kafka_settings, layout_settings, folder)
    assert offsets == [offset]
    everything, same = await read_offsets(kafka_settings, layout_settings, None)
    assert everything == list(range(offset + 1))
    assert chain == same


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty", "others may write"])
async def test_a_bad_snapshot_is_not_used(
    kafka_settings: KafkaSettings,
    layout_settings: LayoutSettings,
    midgate_topics: TopicNames,
    tmp_path: Path,
    damage: str,
) -> None:
    path, _ = await leave_snapshot(kafka_settings, layout_settings, tmp_path)
    data = bytearray(path.read_bytes())
    if damage == "flipped":
        data[len(data) // 2] ^= 1
    if damage == "others may write":
        path.chmod(0o620)
    else:
        path.write_bytes(b"" if damage == "empty" else data[: -1 if damage == "cut" else None])
    offsets, _ = await read_offsets(kafka_settings, layout_settings, tmp_path)
    assert offsets[0] == 0


async def test_a_snapshot_of_another_log_is_not_used(
    kafka_settings: KafkaSettings,
    layout_settings: LayoutSettings,
    midgate_topics: TopicNames,
    tmp_path: Path,
) -> None:
    """Neither under its own name, nor under that of the log that is there now."""
    path, _ = await leave_snapshot(kafka_settings, layout_settings, tmp_path)
    await delete_topics(kafka_settings, layout_settings.topics.authorization)
    await apply_topics(kafka_settings, layout_settings)
    offsets, _ = await read_offsets(kafka_settings, layout_settings, tmp_path)
    assert offsets == [0, 1]
    async with following(kafka_settings, layout_settings, heartbeat=False) as follower:
        renamed = SnapshotStore(tmp_path, layout_settings.prefix).path(follower.rights.log_id)
    assert renamed is not None
    path.rename(renamed)
    offsets, _ = await read_offsets(kafka_settings, layout_settings, tmp_path)
    assert offsets == [0, 1]


async def test_a_log_shorter_than_its_snapshot_stops(
    kafka_settings: KafkaSettings,
    layout_settings: LayoutSettings,
    midgate_topics: TopicNames,
    tmp_path: Path,
) -> None:
    """The same log id with less in it: restored from a backup. A revocation may be missing."""
    _, log_id = await leave_snapshot(kafka_settings, layout_settings, tmp_path)
    store = SnapshotStore(tmp_path, layout_settings.prefix)
    rights = store.load(log_id)
    assert rights is not None
    rights.version += 1000
    assert store.save(log_id, rights.dump())
    with pytest.raises(WrongLogError, match="snapshot"):
        async with following(kafka_settings, layout_settings, heartbeat=False, snapshots=tmp_path):
            pass


async def test_a_moment_of_a_shorter_log_does_not_end_following(
    kafka_settings: KafkaSettings,
    layout_settings: LayoutSettings,
    midgate_topics: TopicNames,
    tmp_path: Path,
) -> None:
    """A deposed leader that still answers knows less than the snapshot; the next one knows all."""
    path, log_id = await leave_snapshot(kafka_settings, layout_settings, tmp_path)
    store = SnapshotStore(tmp_path, layout_settings.prefix)
    good = path.read_bytes()
    rights = store.load(log_id)
    assert rights is not None
    known = rights.version
    rights.version += 1000
    assert store.save(log_id, rights.dump())
    settings = AuthorizationSettings(authorization_staleness_s_max=LEASE_S, snapshot_dir=tmp_path)
    follower = Follower(kafka_settings, layout_settings, settings, heartbeat=True)
    await follower.start()
    try:
        await until(lambda: "local snapshot" in (follower.problem or ""), "it is said")
        assert not (follower.problem or "").startswith("wrong log")
        path.write_bytes(good)
        await follower.wait_for_version(known, WAIT_S_MAX)
        await until(lambda: follower.problem is None, "it may decide")
    finally:
        await follower.stop()
