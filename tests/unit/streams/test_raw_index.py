"""The index of raw on disk: what is in it is found, and what does not fit is thrown away."""

from pathlib import Path

import pytest

from streams.errors import ConfigurationError
from streams.index_keys import BLOCK_OFFSETS, keys_of, number_term
from streams.raw_index import RawIndex, Span
from streams.raw_record import RawRecord
from tests.router_support import barcode, event

MID = "901234567"


def record(serial: int, partition: int, offset: int) -> RawRecord:
    key, value = event(barcode(MID, serial))
    return RawRecord(partition, offset, 5, key, value)


def term(serial: int):
    return number_term(barcode(MID, serial).encode())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    index = RawIndex.open(tmp_path / "index", "topic-1")
    index.begin({0: 0, 1: 0})
    far = BLOCK_OFFSETS + 7
    index.add(keys_of([record(1, 0, 3), record(2, 0, 4), record(1, 1, far)]), {0: 5, 1: far + 1})
    index.close()
    return tmp_path / "index"


def found(folder: Path, serial: int, identity: str = "topic-1") -> list[tuple[int, int]] | None:
    with RawIndex.reading(folder, identity) as index:
        return None if index is None else index.find(term(serial))


def test_positions_of_a_number_over_partitions_and_blocks(folder):
    assert found(folder, 1) == [(0, 3), (1, BLOCK_OFFSETS + 7)]
    assert found(folder, 2) == [(0, 4)]
    assert found(folder, 3) == []


def test_taking_in_again_changes_nothing(folder):
    index = RawIndex.open(folder, "topic-1")
    assert index.spans[0] == Span(0, 5)
    index.add(keys_of([record(1, 0, 3)]), {0: 5})
    assert index.find(term(1)) == [(0, 3), (1, BLOCK_OFFSETS + 7)]
    index.close()


def test_it_is_read_while_another_one_writes_it(folder):
    writer = RawIndex.open(folder, "topic-1")
    writer.add(keys_of([record(3, 0, 9)]), {0: 10})
    assert found(folder, 3) == [(0, 9)]
    with pytest.raises(ConfigurationError, match="another process"):
        RawIndex.open(folder, "topic-1")
    writer.close()


def test_an_index_of_another_topic_is_not_asked_and_is_built_anew(folder):
    assert found(folder, 1, "topic-2") is None
    index = RawIndex.open(folder, "topic-2")
    assert index.spans == {}
    index.close()
    assert found(folder, 1) is None


def test_a_damaged_one_is_not_asked_and_is_built_anew(folder):
    for path in folder.iterdir():
        if path.name.startswith(("MANIFEST", "CURRENT")):
            path.write_bytes(b"nonsense")
    assert found(folder, 1) is None
    index = RawIndex.open(folder, "topic-1")
    assert index.spans == {}
    index.close()


def test_there_is_none_where_there_is_none(tmp_path):
    assert found(tmp_path / "nothing", 1) is None


def test_old_blocks_are_forgotten_whole(folder):
    index = RawIndex.open(folder, "topic-1")
    assert not index.drop_below({0: BLOCK_OFFSETS, 1: BLOCK_OFFSETS - 1}), "no block is done"
    assert index.drop_below({1: BLOCK_OFFSETS})
    assert index.spans == {0: Span(0, 5), 1: Span(BLOCK_OFFSETS, BLOCK_OFFSETS + 8)}
    assert index.find(term(1)) == [(0, 3), (1, BLOCK_OFFSETS + 7)]
    index.add(keys_of([record(4, 1, 2 * BLOCK_OFFSETS)]), {1: 2 * BLOCK_OFFSETS + 1})
    assert index.drop_below({1: 2 * BLOCK_OFFSETS})
    assert index.find(term(1)) == [(0, 3)]
    assert index.find(term(4)) == [(1, 2 * BLOCK_OFFSETS)]
    index.close()
