"""Tables for people, JSON for programs, progress that does not disturb either."""

import json
import sys
import time
from typing import Any

import pytest
import typer

from midgate.output import Format, Progress, confirm, show_record, show_rows, takes_color
from streams.errors import InputError

ROWS: list[dict[str, Any]] = [
    {"name": "a", "count": 1, "extra": b"\x01"},
    {"name": "bb", "count": None, "extra": []},
]


def test_table_of_columns(capsys: pytest.CaptureFixture[str]) -> None:
    show_rows("things", ROWS, Format.TABLE, columns=["name", "count"])
    assert capsys.readouterr().out == "name  count\na     1\nbb    -\n"


def test_json_has_everything(capsys: pytest.CaptureFixture[str]) -> None:
    show_rows("things", ROWS, Format.JSON, columns=["name"], extra={"next": None})
    assert json.loads(capsys.readouterr().out) == {
        "schema_version": 1,
        "things": [
            {"name": "a", "count": 1, "extra": "01"},
            {"name": "bb", "count": None, "extra": []},
        ],
        "next": None,
    }


def test_empty_listing(capsys: pytest.CaptureFixture[str]) -> None:
    """A person reads a word on stderr; a program gets an empty list."""
    show_rows("things", [], Format.TABLE, empty="no things")
    assert capsys.readouterr() == ("", "no things\n")
    show_rows("things", [], Format.JSON)
    assert json.loads(capsys.readouterr().out)["things"] == []


def test_record(capsys: pytest.CaptureFixture[str]) -> None:
    show_record("thing", {"name": "a", "on": True, "of": {"x": 1}}, Format.TABLE)
    assert capsys.readouterr().out == "name  a\non    yes\nof    x=1\n"


def test_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stream:
        def isatty(self) -> bool:
            return True

    stream: object = Stream()
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert takes_color(stream)  # type: ignore[arg-type]
    monkeypatch.setenv("TERM", "dumb")
    assert not takes_color(stream)  # type: ignore[arg-type]
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert takes_color(stream)  # type: ignore[arg-type]
    monkeypatch.setenv("NO_COLOR", "1")
    assert not takes_color(stream)  # type: ignore[arg-type]


def test_progress_without_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A plain line now and then, on stderr; nothing for work that is over at once."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with Progress("reading", unit="lines") as progress:
        progress.report(10, 1000)
        assert capsys.readouterr() == ("", "")
        now[0] = 105.0
        progress.report(500, 1000)
        progress.report(501, 1000)
    assert capsys.readouterr() == ("", "reading: 500 of 1,000 lines (100/s)\n")


def test_confirm(monkeypatch: pytest.MonkeyPatch) -> None:
    confirm("sure?", yes=True)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    with pytest.raises(InputError):
        confirm("sure?", yes=False)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(typer, "confirm", lambda *_, **__: False)
    with pytest.raises(typer.Exit):
        confirm("sure?", yes=False)
