"""`midgate barcode`: the exact JSON of every vector, numbers from stdin, a table for people."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from midgate.cli import run

VECTORS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[2] / "vectors" / "barcodes.json").read_text()
)


def feed(monkeypatch: pytest.MonkeyPatch, text: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["input"])
def test_json_of_a_vector(vector: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["barcode", vector["input"], "--output", "json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown == vector
    assert list(shown) == ["input", "verdict", "mid", "readings", "reason"]
    for reading in shown["readings"]:
        assert list(reading) == ["routing", "ai", "stc", "mid", "serial", "check_digit"]


def test_one_json_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["barcode", "9205590123456700000017", "nonsense", "-o", "json"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["verdict"] for line in lines] == ["owned", "invalid"]


def test_numbers_from_stdin(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    feed(monkeypatch, b"9205 5901 2345 6700 0000 17\r\n\n\xff\xfe\nRB123456785GB")
    assert run(["barcode", "-", "--output", "json"]) == 0
    shown = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["verdict"] for one in shown] == ["owned", "invalid", "no_owner"]
    assert shown[0]["input"] == "9205 5901 2345 6700 0000 17"


def test_an_endless_line_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    feed(monkeypatch, b"123\n" + b"9" * 10_000)
    assert run(["barcode", "-", "--output", "json"]) == 2
    assert "line 2" in capsys.readouterr().err


def test_table(capsys: pytest.CaptureFixture[str]) -> None:
    """Both readings of a number show; the verdict stands once."""
    assert run(["barcode", "4209024593009205590123456700000017", "1Z999AA10123456784"]) == 0
    head, first, second, foreign = capsys.readouterr().out.splitlines()
    assert head.split()[:4] == ["number", "verdict", "owner", "reason"]
    assert "undecidable" in first
    assert "205590" in first
    assert "undecidable" not in second
    assert "90245-9300" in second
    assert "UPS" in foreign


def test_without_a_number_it_shows_how_it_is_called(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["barcode"]) == 2
    assert "NUMBER" in capsys.readouterr().err
