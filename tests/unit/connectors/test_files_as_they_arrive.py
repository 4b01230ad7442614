"""Goal: the right answer to every odd file. Method: the files of tests/vectors/see, through the
same passes as an ingest, without a broker; and files made here where one would be too large."""

import gzip
import json
import os
import re
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.see_files.batches import Batch, BatchMaker, Portion, portions
from connectors.see_files.facility_time import FacilityClock
from connectors.see_files.file_check import HEAD_BYTES
from connectors.see_files.line_reader import LineReader
from connectors.see_files.line_splitter import LINE_BYTES_MAX, LineSplitter
from connectors.see_files.source_file import FileRefusedError, SourceFile
from tests.unit.connectors.see_lines import SYNTHETIC, with_field

VECTORS = Path(__file__).parents[2] / "vectors" / "see"
EXPECTED: dict[str, dict[str, Any]] = json.loads((VECTORS / "expected.json").read_text())


def maker() -> BatchMaker:
    return BatchMaker(
        LineReader(FacilityClock({})),
        zlib.crc32,
        origin="0123456789abcdef",
        file_name="file",
        raw_partitions=4,
        quarantine_partitions=4,
    )


def batches_of(source: SourceFile, *, done: int = 0, lines_max: int = 1000) -> list[Batch]:
    return [
        maker().make(portion, 1)
        for portion in portions(source.chunks(), done=done, lines_max=lines_max)
    ]


def quarantined_of(batches: list[Batch]) -> list[list[Any]]:
    rows = []
    for batch in batches:
        for records in batch.quarantine.values():
            for _, _, _, headers in records:
                of = {name: value.decode() for name, value in headers}
                line = int(of["mg-origin"].partition(":")[2])
                rows.append([line, int(of["mg-column"]), of["mg-field"], of["mg-reason"]])
    return sorted(rows)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_the_right_answer(name: str) -> None:
    expected = EXPECTED[name]
    with SourceFile(VECTORS / name) as source:
        if "refused" in expected:
            with pytest.raises(FileRefusedError, match=re.escape(expected["refused"])):
                source.check()
            return
        facts = source.check()
        batches = batches_of(source)
        source.verify()
    assert sum(batch.raw_count for batch in batches) == expected["raw"]
    assert quarantined_of(batches) == expected["quarantined"]
    assert facts.lines == expected["raw"] + len(expected["quarantined"])


def test_every_vector_is_expected() -> None:
    notes = {"README.md", "expected.json", ".gitattributes"}
    assert {path.name for path in VECTORS.iterdir()} - notes == set(EXPECTED)


def test_a_very_long_line_is_cut_and_said_so(tmp_path: Path) -> None:
    path = tmp_path / "long"
    long_line = b'"015","' + b"x" * 3 * LINE_BYTES_MAX
    path.write_bytes(b"\n".join([SYNTHETIC, long_line, SYNTHETIC]))
    with SourceFile(path) as source:
        assert source.check().lines == 3
        (batch,) = batches_of(source)
    assert (batch.raw_count, batch.quarantined) == (2, 1)
    ((_, value, _, headers),) = next(iter(batch.quarantine.values()))
    assert value == long_line[:LINE_BYTES_MAX]
    assert ("mg-cut", b"%d" % LINE_BYTES_MAX) in headers


def test_a_quarantined_line_keeps_its_bytes() -> None:
    line = with_field("event date", b"20261399")
    batch = maker().make(Portion(7, [line, b"\xff"]), 1)
    records = {record[0]: record for records in batch.quarantine.values() for record in records}
    key = b"9261290336128704042634"
    assert records[key][1] == line
    assert records[key][3] == [
        ("mg-reason", b"line_unreadable"),
        ("mg-origin", b"0123456789abcdef:7"),
        ("mg-file", b"file"),
        ("mg-column", b"222"),
        ("mg-field", b"event_date"),
        ("mg-expected", b"a day of the calendar"),
    ]
    # No number can be made out: file and line are the key.
    assert records[b"0123456789abcdef:8"][1] == b"\xff"


def test_raw_records_name_their_line() -> None:
    batch = maker().make(Portion(41, [SYNTHETIC, SYNTHETIC]), 1_700_000_000_000)
    (records,) = batch.raw.values()
    assert [record[3] for record in records] == [
        [("mg-origin", b"0123456789abcdef:41")],
        [("mg-origin", b"0123456789abcdef:42")],
    ]
    assert {record[2] for record in records} == {1_700_000_000_000}


@given(
    st.lists(st.binary(max_size=12).filter(lambda b: b"\n" not in b and not b.endswith(b"\r"))),
    st.sampled_from([b"\n", b"\r\n"]),
    st.booleans(),
    st.integers(1, 40),
)
def test_lines_do_not_depend_on_chunks(
    lines: list[bytes], end: bytes, has_last_end: bool, size: int
) -> None:
    text = end.join(lines) + (end if has_last_end and lines else b"")
    splitter = LineSplitter()
    got: list[bytes] = []
    for at in range(0, len(text), size):
        got += splitter.feed(text[at : at + size])
    got += splitter.finish()
    expected = list(lines)
    if not has_last_end and expected and not expected[-1]:
        expected.pop()
    if expected:
        expected[0] = expected[0].removeprefix(b"\xef\xbb\xbf")
    assert got == expected or [line for line in expected if line] == [line for line in got if line]


@given(st.integers(0, 30), st.integers(0, 35), st.integers(1, 9), st.integers(1, 700))
def test_portions_cover_the_rest_once(count: int, done: int, lines_max: int, size: int) -> None:
    lines = [b"%d" % number for number in range(count)]
    text = b"\n".join(lines)
    chunks = [text[at : at + size] for at in range(0, len(text), size)]
    got = list(portions(chunks, done=done, lines_max=lines_max))
    assert [portion.is_last for portion in got] == [False] * (len(got) - 1) + [True]
    assert [line for portion in got for line in portion.lines] == lines[done:]
    next_line = done + 1
    for portion in got:
        assert portion.first_line == next_line
        assert len(portion.lines) <= lines_max
        next_line += len(portion.lines)


def test_a_portion_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.see_files.batches.PORTION_BYTES_MAX", 10)
    got = list(portions([b"12345\n12345\n12345\n"], done=0, lines_max=100))
    assert [len(portion.lines) for portion in got] == [2, 1]


class TestChanges:
    """A file that changes between or during the passes is noticed before its last transaction."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        path = tmp_path / "see.txt"
        path.write_bytes((SYNTHETIC + b"\n") * 10)
        return path

    def test_it_grows(self, path: Path) -> None:
        with SourceFile(path) as source:
            source.check()
            with path.open("ab") as more:
                more.write(SYNTHETIC)
            with pytest.raises(FileRefusedError, match="changed"):
                source.require_unchanged()

    def test_same_size_and_time_but_other_bytes(self, path: Path) -> None:
        with SourceFile(path) as source:
            source.check()
            stamp = path.stat()
            with path.open("r+b") as changed:
                changed.write(SYNTHETIC.replace(b"DELIVERED", b"REFUSED  "))
            os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
            source.require_unchanged()
            list(source.chunks())
            with pytest.raises(FileRefusedError, match="changed"):
                source.verify()

    def test_a_gzip_file_is_made_shorter(self, tmp_path: Path) -> None:
        path = tmp_path / "see.gz"
        path.write_bytes(gzip.compress(os.urandom(10) + (SYNTHETIC + b"\n") * 10))
        with SourceFile(path) as source:
            source.check()
            os.truncate(path, path.stat().st_size - 20)
            with pytest.raises(FileRefusedError, match="changed"):
                list(source.chunks())

    def test_another_file_takes_the_name(self, path: Path, tmp_path: Path) -> None:
        with SourceFile(path) as source:
            source.check()
            other = tmp_path / "other"
            other.write_bytes(b"x")
            other.replace(path)
            assert sum(len(chunk) for chunk in source.chunks()) == 10 * (len(SYNTHETIC) + 1)
            source.verify()


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path, why in (
        (pipe, "not a regular file"),
        (tmp_path, "not a regular file"),
        (tmp_path / "none", "No such file"),
    ):
        with pytest.raises(FileRefusedError, match=why), SourceFile(path):
            pass


def test_the_head_is_enough_for_a_judgement(tmp_path: Path) -> None:
    """A file that becomes ours only after the head is not ours."""
    path = tmp_path / "late"
    path.write_bytes(b"x\n" * HEAD_BYTES + SYNTHETIC)
    with SourceFile(path) as source, pytest.raises(FileRefusedError, match="none of the first"):
        source.check()
