"""The local copy of the labels: what it answers, and that nothing doubtful in it is trusted."""

import subprocess
import sys
from pathlib import Path

import pytest

from streams.errors import ConfigurationError, SchemaError
from streams.label_history import Label, encode_history
from streams.label_store import LabelStore, LabelStores
from streams.local_store import COPIES_MAX, LocalStoreError
from streams.packed_labels import unpack

PIC, OTHER = b"9400111206206406260787", b"9505511069605048600624"
TOPIC = "cluster/topic/0"


def a_label(label_id: str = "l1") -> Label:
    return Label(label_id, "901234567", "acme", "", 5, 10, 20, None, "")


def record(pic: bytes, *label_ids: str) -> tuple[bytes, bytes]:
    return pic, encode_history(pic.decode(), [a_label(one) for one in label_ids])


@pytest.fixture
def stores(tmp_path: Path) -> LabelStores:
    return LabelStores(tmp_path)


def ids(store: LabelStore, *pics: bytes) -> list[list[str]]:
    return [
        [one.label_id for one in unpack(pic.decode(), packed or b"")]
        for pic, packed in zip(pics, store.find(pics), strict=True)
    ]


def test_what_was_applied_is_found_again_after_a_restart(stores):
    store = stores.open("0", TOPIC)
    assert store.is_empty
    assert store.apply([record(PIC, "a"), record(OTHER, "b"), record(PIC, "a", "c")], 7) == {
        PIC,
        OTHER,
    }
    assert ids(store, PIC, OTHER, b"0") == [["a", "c"], ["b"], []]
    assert store.find([]) == []
    store.close()
    again = stores.open("0", TOPIC)
    assert again.position == 7
    assert ids(again, OTHER, PIC) == [["b"], ["a", "c"]]
    assert [key for key, _ in again.items()] == [PIC, OTHER]
    assert again.apply([(PIC, None)], 8) == {PIC}
    assert ids(again, PIC) == [[]]
    again.close()


def test_what_is_no_label_of_its_key_has_no_effect(stores):
    store = stores.open("0", TOPIC)
    store.apply([record(PIC, "a")], 1)
    broken = [(PIC, b"junk"), (PIC, record(OTHER, "b")[1]), (None, b"x"), (b"\0about", None)]
    assert store.apply(broken, 5) == set()
    assert ids(store, PIC) == [["a"]]
    assert store.position == 5
    store.close()


def test_a_label_of_a_newer_version_is_not_passed_over(stores):
    store = stores.open("0", TOPIC)
    with pytest.raises(SchemaError, match=PIC.decode()):
        store.apply([(PIC, b"\0\0\0\x27\x0f...")], 3)
    assert store.is_empty
    store.close()


@pytest.mark.parametrize("identity", ["cluster/topic made anew/0", "other cluster/topic/0"])
def test_a_store_of_another_topic_counts_for_nothing(stores, identity):
    store = stores.open("0", TOPIC)
    store.apply([record(PIC, "a")], 7)
    store.close()
    other = stores.open("0", identity)
    assert other.is_empty
    assert ids(other, PIC) == [[]]


def filled(stores: LabelStores) -> None:
    """A store with files, closed."""
    for position in range(1, 4):
        store = stores.open("0", TOPIC)
        store.apply([record(b"94%020d" % n, "a") for n in range(2_000)], position)
        store.close()


def test_a_cut_store_is_rebuilt(stores, tmp_path):
    filled(stores)
    data = max((tmp_path / "0").glob("*.sst"), key=lambda path: path.stat().st_size)
    data.write_bytes(data.read_bytes()[: data.stat().st_size // 2])
    store = stores.open("0", TOPIC)
    assert store.is_empty
    assert store.find([b"94%020d" % 1]) == [None]
    store.close()


def test_a_store_with_flipped_bits_is_rebuilt(stores, tmp_path):
    filled(stores)
    for data in (tmp_path / "0").glob("*.sst"):
        content = bytearray(data.read_bytes())
        for at in range(64, len(content) // 2, 512):
            content[at] ^= 0xFF
        data.write_bytes(content)
    with pytest.raises(LocalStoreError, match="thrown away"):
        stores.open("0", TOPIC).find([b"94%020d" % n for n in range(2_000)])
    assert stores.open("0", TOPIC).is_empty


def test_files_gone_or_garbage_mean_a_rebuild(stores, tmp_path):
    filled(stores)
    (tmp_path / "0" / "CURRENT").write_bytes(b"nonsense\n")
    store = stores.open("0", TOPIC)
    assert store.is_empty
    store.close()


def test_a_kill_leaves_a_position_with_its_data(stores, tmp_path):
    code = f"""
import os, sys
from pathlib import Path
from tests.unit.streams.test_label_store import TOPIC, record
from streams.label_store import LabelStores
store = LabelStores(Path({str(tmp_path)!r})).open("0", TOPIC)
for position in range(1, 51):
    store.apply([record(b"94%020d" % n, f"p{{position}}") for n in range(50)], position)
os.kill(os.getpid(), 9)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[3])
    assert done.returncode == -9
    store = stores.open("0", TOPIC)
    assert 0 < store.position <= 50
    pics = [b"94%020d" % n for n in range(50)]
    assert ids(store, *pics) == [[f"p{store.position}"]] * 50
    store.close()


def test_a_store_that_somebody_holds_is_not_waited_for(stores, tmp_path):
    first = stores.open("0", TOPIC)
    first.apply([record(PIC, "a")], 7)
    second = LabelStores(tmp_path).open("0", TOPIC)
    assert second.is_empty
    second.apply([record(PIC, "b")], 3)
    assert ids(first, PIC) == [["a"]]
    rest = [LabelStores(tmp_path).open("0", TOPIC) for _ in range(COPIES_MAX - 2)]
    with pytest.raises(ConfigurationError, match="in use"):
        stores.open("0", TOPIC)
    for one in [first, second, *rest]:
        one.close()


def test_without_a_folder_nothing_stays():
    store = LabelStores(None).open("0", TOPIC)
    store.apply([record(PIC, "a")], 1)
    folder = Path(store._store.folder)
    assert folder.exists()
    store.close()
    assert not folder.exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="file"):
        LabelStores(tmp_path / "file").open("0", TOPIC)
