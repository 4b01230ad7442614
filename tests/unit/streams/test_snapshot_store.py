"""Snapshots on disk, without a broker: whole or not at all, private, and never trusted blindly."""

import os
import stat
import uuid
from pathlib import Path

import pytest

from streams.changes import log_start_change
from streams.rights import Rights
from streams.snapshot_store import SnapshotStore

LOG_ID = str(uuid.UUID(int=7))


def some_rights(log_id: str = LOG_ID) -> Rights:
    rights = Rights()
    value = log_start_change(log_id, actor="test", reason="test", change_id=b"0" * 16)
    rights.apply(0, 0, value)
    return rights


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    store = SnapshotStore(tmp_path / "new" / "folder", "midgate")
    rights = some_rights()
    assert store.load(LOG_ID) is None
    assert store.save(LOG_ID, rights.dump())
    loaded = store.load(LOG_ID)
    assert loaded is not None
    assert (loaded.log_id, loaded.version, loaded.chain) == (LOG_ID, 1, rights.chain)


def test_file_and_folder_are_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        store = SnapshotStore(tmp_path / "snapshots", "midgate")
        store.save(LOG_ID, some_rights().dump())
    finally:
        os.umask(before)
    path = store.path(LOG_ID)
    assert path is not None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_failed_write_leaves_the_snapshot_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SnapshotStore(tmp_path, "midgate")
    store.save(LOG_ID, some_rights().dump())

    def full(descriptor: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert not store.save(LOG_ID, b"half")
    loaded = store.load(LOG_ID)
    assert loaded is not None
    assert [path.name for path in tmp_path.iterdir()] == [f"midgate.{LOG_ID}.rights"]


@pytest.mark.parametrize("log_id", ["", "../escape", "a/b", "x" * 65, ".hidden", "a\0b", "a\n"])
def test_a_log_id_that_is_no_file_name_has_no_snapshot(tmp_path: Path, log_id: str) -> None:
    store = SnapshotStore(tmp_path, "midgate")
    assert store.path(log_id) is None
    assert not store.save(log_id, b"x")
    assert store.load(log_id) is None
    assert not list(tmp_path.iterdir())


def test_a_snapshot_under_another_logs_name_is_refused(tmp_path: Path) -> None:
    other = str(uuid.UUID(int=8))
    store = SnapshotStore(tmp_path, "midgate")
    store.save(other, some_rights().dump())
    assert store.load(other) is None


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_what_others_may_have_written_proves_nothing(tmp_path: Path, mode: int) -> None:
    store = SnapshotStore(tmp_path, "midgate")
    store.save(LOG_ID, some_rights().dump())
    path = store.path(LOG_ID)
    assert path is not None
    path.chmod(mode)
    assert store.load(LOG_ID) is None


def test_any_damage_is_noticed(tmp_path: Path) -> None:
    store = SnapshotStore(tmp_path, "midgate")
    data = some_rights().dump()
    path = store.path(LOG_ID)
    assert path is not None
    for position in range(len(data)):
        flipped = bytearray(data)
        flipped[position] ^= 0x10
        path.write_bytes(flipped)
        path.chmod(0o600)
        assert store.load(LOG_ID) is None, position
