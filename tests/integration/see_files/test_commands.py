"""Goal: `midgate ingest see` and `midgate generate see` as a person and a program use them. Method:
the real commands, in-process, against a real broker; exit codes, JSON, files."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from connectors.see_files.ingest import FileIngest
from midgate.cli import run
from midgate.commands.ingest import Bars
from streams.topics import TopicNames
from streams.transactions import TransactionalProducer, TransactionFailedError
from tests.kafka_support import KafkaUnderTest

pytestmark = pytest.mark.broker

Midgate = Callable[..., int]


@pytest.fixture
def midgate(kafka: KafkaUnderTest, prefix: str) -> Midgate:
    """Runs a command line against the test's own topics; returns its exit code."""

    def call(*arguments: object) -> int:
        common = ["--bootstrap", kafka.bootstrap, "--prefix", prefix, "--app-id", prefix]
        return run([*common, *map(str, arguments)])

    return call


def said(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


def test_a_folder(
    midgate: Midgate,
    midgate_topics: TopicNames,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    assert midgate("generate", "see", "--events", 700, "--out", folder / "b.txt") == 0
    assert midgate("generate", "see", "--pieces", 20, "--out", folder / "a.txt.gz") == 0
    (folder / "c.txt").write_bytes(b"")
    (folder / "d.txt.part").write_bytes(b"half")
    (folder / ".hidden").write_bytes(b"x")
    (folder / "older").mkdir()
    capsys.readouterr()

    assert midgate("ingest", "see", folder, "--output", "json") == 2
    answer = said(capsys)
    rows = {Path(row["file"]).name: row for row in answer["files"]}
    assert list(rows) == ["a.txt.gz", "b.txt", "c.txt"]
    assert [row["outcome"] for row in rows.values()] == ["ingested", "ingested", "refused"]
    assert rows["b.txt"]["lines"] == rows["b.txt"]["raw"] + rows["b.txt"]["quarantined"] == 700
    assert rows["c.txt"]["why"] == "the file is empty"
    assert answer["totals"]["refused"] == 1
    skipped = {Path(row["file"]).name: row["why"] for row in answer["skipped"]}
    assert skipped == {".hidden": "hidden", "d.txt.part": "unfinished", "older": "a folder"}

    assert midgate("ingest", "see", folder / "b.txt") == 2
    out, err = capsys.readouterr()
    assert "refused" in out
    assert "ingested before" in out
    assert "hint: " in err


def test_one_good_file_is_exit_0(
    midgate: Midgate,
    midgate_topics: TopicNames,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "see.txt"
    assert midgate("generate", "see", "--pieces", 5, "--broken", 0, "--out", path) == 0
    assert midgate("ingest", "see", path) == 0
    assert "ingested" in capsys.readouterr().out


def test_a_bar_at_a_time(capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    """A file that stops halfway must not leave its bar in the next one's place."""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with Bars() as bars:
        bars.report(Path("first"), 1, 10)
        bars.report(Path("second"), 1, 10)
        bars.report(Path("second"), 10, 10)


def test_warnings_leave_the_answer_alone(
    midgate: Midgate,
    midgate_topics: TopicNames,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A start over is told on stderr; stdout stays one JSON object."""
    failures = iter([TransactionFailedError("made up")])

    async def fail_once(self: FileIngest, producer: TransactionalProducer) -> bool:
        for failure in failures:
            raise failure
        return await claim(self, producer)

    claim = FileIngest._claim
    monkeypatch.setattr(FileIngest, "_claim", fail_once)
    path = tmp_path / "see.txt"
    assert midgate("generate", "see", "--pieces", 5, "--out", path) == 0
    capsys.readouterr()
    assert midgate("ingest", "see", path, "--output", "json") == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["totals"]["failed"] == 0
    assert "ingest_starts_over" in err


def test_a_path_that_is_not_there(midgate: Midgate, capsys: pytest.CaptureFixture[str]) -> None:
    assert midgate("ingest", "see", "/nowhere/at-all") == 2
    assert "does not exist" in capsys.readouterr().err


def test_no_topics_is_a_configuration_error(
    midgate: Midgate, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "see.txt"
    assert midgate("generate", "see", "--pieces", 1, "--out", path) == 0
    assert midgate("ingest", "see", path) == 3
    assert "midgate topics apply" in capsys.readouterr().err


class TestGenerate:
    """No broker is needed, but these stand with the command they belong to."""

    def test_the_same_seed_the_same_file(self, midgate: Midgate, tmp_path: Path) -> None:
        for name in ("a", "b", "c.gz", "d.gz"):
            assert midgate("generate", "see", "--seed", 9, "--out", tmp_path / name) == 0
        plain = (tmp_path / "a").read_bytes()
        assert (tmp_path / "b").read_bytes() == plain
        assert (tmp_path / "c.gz").read_bytes() == (tmp_path / "d.gz").read_bytes()
        assert gzip.decompress((tmp_path / "c.gz").read_bytes()) == plain
        assert not list(tmp_path.glob("*.part"))

    def test_an_existing_file_is_kept(
        self, midgate: Midgate, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = tmp_path / "a"
        path.write_text("mine")
        assert midgate("generate", "see", "--out", path) == 2
        assert path.read_text() == "mine"
        assert "--force" in capsys.readouterr().err
        assert midgate("generate", "see", "--out", path, "--force", "-o", "json") == 0
        assert said(capsys)["generated"]["lines"] > 1000

    @pytest.mark.parametrize(
        ("arguments", "why"),
        [
            (["--mid", "123"], "no Mailer ID"),
            (["--mid", "123456789"], "no Mailer ID"),
            (["--start", "yesterday"], "no day"),
            (["--start", "1492-10-12"], "out of range"),
            (["--pieces", "1", "--events", "1"], "one of them"),
            (["--output", "json"], "--out FILE"),
            (["--out", "/nowhere/x"], "cannot be written"),
        ],
    )
    def test_wrong_options(
        self, arguments: list[str], why: str, midgate: Midgate, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert midgate("generate", "see", *arguments) == 2
        assert why in capsys.readouterr().err

    def test_the_given_mids_take_part(self, midgate: Midgate, tmp_path: Path) -> None:
        path = tmp_path / "see"
        mids = ["--mid", "901234567", "--mid", "123456", "--mids", 2]
        assert midgate("generate", "see", *mids, "--broken", 0, "--out", path) == 0
        found = {line[81:90].strip() for line in path.read_bytes().splitlines()}
        assert found == {b"901234567", b"123456"}
