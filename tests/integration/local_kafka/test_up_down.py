"""`midgate up` and `down` in an empty folder, as a newcomer meets them."""

import json
from pathlib import Path
from typing import Any

import pytest

from deploy.local_kafka.broker import LocalKafka
from midgate.cli import run
from tests.kafka_support import fetch_jars_or_skip

pytestmark = pytest.mark.broker


def shown(capsys: pytest.CaptureFixture[str], *line: str) -> Any:
    """Run a command that must succeed; returns what it put on stdout."""
    code = run([*line, "-o", "json"])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return json.loads(captured.out)


def test_up_twice_and_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Up leaves a broker with topics and its address; again finds it; down leaves the data."""
    fetch_jars_or_skip()
    monkeypatch.chdir(tmp_path)
    broker = LocalKafka(tmp_path / ".midgate/kafka")
    try:
        first = shown(capsys, "up")["broker"]
        assert first["started"]
        assert (tmp_path / ".midgate/bootstrap").read_text().strip() == first["bootstrap"]
        again = shown(capsys, "up")["broker"]
        assert again == {**first, "started": False}

        topics = {row["topic"] for row in shown(capsys, "topics", "list")["topics"]}
        assert {"midgate.raw", "midgate.authorization", "midgate.ledger"} <= topics
        changes = shown(capsys, "topics", "apply", "--dry-run")["changes"]
        assert {row["action"] for row in changes} == {"none"}
        monkeypatch.setenv("MIDGATE_PARTITIONS", "8")
        assert run(["topics", "apply"]) == 3
        assert "MIDGATE_PARTITIONS=4" in capsys.readouterr().err
        monkeypatch.delenv("MIDGATE_PARTITIONS")

        other_port = str(int(first["bootstrap"].rpartition(":")[2]) ^ 1)
        assert run(["up", "--port", other_port]) == 4
        assert "runs already" in capsys.readouterr().err

        assert shown(capsys, "down")["broker"]["stopped"]
        assert not (tmp_path / ".midgate/bootstrap").exists()
        assert (tmp_path / ".midgate/kafka/data").exists()
        assert broker.running is None

        back = shown(capsys, "up")["broker"]
        assert back["started"]
        assert shown(capsys, "topics", "apply")["changes"][0]["action"] == "none"
        assert shown(capsys, "down", "--purge", "--yes")["broker"]["purged"]
        assert not (tmp_path / ".midgate/kafka").exists()
    finally:
        broker.kill()
