"""The command line's edges: exit codes, hints, what goes to which stream."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from midgate import cli
from midgate.cli import COMMANDS, global_options_first, load_command, run
from streams.errors import (
    BrokerUnreachableError,
    ChangeVoidError,
    ConfigurationError,
    InputError,
    MidgateError,
    NotAuthorizedError,
    SchemaError,
)

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No `.midgate/bootstrap` of somebody's own counts."""
    monkeypatch.chdir(tmp_path)


def raising(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> object:
        raise error

    monkeypatch.setattr(cli, "load_command", fail)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MidgateError("x"), 1),
        (InputError("x"), 2),
        (ConfigurationError("x"), 3),
        (BrokerUnreachableError("x"), 4),
        (NotAuthorizedError("x"), 5),
        (SchemaError("x"), 6),
        (ChangeVoidError("x", reason="base"), 7),
        (RuntimeError("x"), 1),
        (KeyboardInterrupt(), 130),
        (typer.Abort(), 130),
        (typer.Exit(7), 7),
    ],
)
def test_exit_codes(
    error: BaseException,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each kind of error has its code; nothing of it goes to stdout."""
    raising(error, monkeypatch)
    assert run(["config"]) == code
    assert capsys.readouterr().out == ""


def test_error_and_hint_on_stderr(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    raising(ConfigurationError("it is broken", hint="mend it"), monkeypatch)
    run(["config"])
    assert capsys.readouterr().err == "error: it is broken\nhint: mend it\n"


def test_traceback_only_when_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    raising(RuntimeError("boom"), monkeypatch)
    assert run(["config"]) == 1
    quiet = capsys.readouterr().err
    assert "RuntimeError: boom" in quiet
    assert "--debug" in quiet
    assert "Traceback" not in quiet
    assert run(["config", "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    "line", [["nope"], ["config", "--nope"], ["config", "--output", "xml"], ["--bootstrap"], []]
)
def test_wrong_usage(line: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(line) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "--help" in shown.err


def test_global_options_may_stand_anywhere() -> None:
    line = ["topics", "list", "--prefix", "p", "-o", "json", "--bootstrap=b", "--debug"]
    moved = ["--prefix", "p", "--bootstrap=b", "--debug", "topics", "list", "-o", "json"]
    assert global_options_first(line) == moved
    assert global_options_first(["x", "--", "--prefix", "p"]) == ["x", "--", "--prefix", "p"]


def test_help_names_every_command_and_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    shown = capsys.readouterr().out
    for number in (0, 1, 2, 3, 4, 5, 6, 7, 130):
        assert f" {number} " in " ".join(shown.split())
    for name in COMMANDS:
        assert f"\n  {name} " in shown


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_loads_and_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert load_command(name).name == name
    assert run([name, "--help"]) == 0
    assert "Usage: midgate " + name in capsys.readouterr().out
    assert COMMANDS[name][1].endswith(".")


def test_config_masks_secrets_and_names_origins(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("MIDGATE_SASL_PASSWORD", "hunter2")
    monkeypatch.setenv("MIDGATE_LANES", "1")
    (tmp_path / ".midgate").mkdir()
    (tmp_path / ".midgate/bootstrap").write_text("127.0.0.1:1\n")
    assert run(["config", "-o", "json", "--prefix", "p"]) == 0
    text = capsys.readouterr().out
    assert "hunter2" not in text
    shown = json.loads(text)
    assert shown["schema_version"] == 1
    by_name = {row["setting"]: (row["value"], row["origin"]) for row in shown["settings"]}
    assert by_name["lanes"] == (1, "MIDGATE_LANES")
    assert by_name["prefix"] == ("p", "--prefix")
    assert by_name["app_id"] == ("midgate", "default")
    assert by_name["sasl_password"] == ("**********", "MIDGATE_SASL_PASSWORD")
    assert by_name["bootstrap"] == ("127.0.0.1:1", str(tmp_path / ".midgate/bootstrap"))
    monkeypatch.setenv("MIDGATE_BOOTSTRAP", "127.0.0.1:2")
    run(["config", "-o", "json"])
    shown = json.loads(capsys.readouterr().out)
    assert shown["settings"][0]["value"] == "127.0.0.1:2"
    run(["config", "-o", "json", "--bootstrap", "127.0.0.1:3"])
    shown = json.loads(capsys.readouterr().out)
    assert (shown["settings"][0]["value"], shown["settings"][0]["origin"]) == (
        "127.0.0.1:3",
        "--bootstrap",
    )


def test_setting_that_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MIDGATE_LANES", "many")
    assert run(["config"]) == 3
    assert "MIDGATE_LANES" in capsys.readouterr().err


def test_no_address_and_nobody_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["topics", "list"]) == 3
    assert "midgate up" in capsys.readouterr().err


def test_down_without_a_broker_is_fine(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["down", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["broker"]["stopped"] is False


def test_purge_asks(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a terminal nobody can be asked: `--yes` is needed."""
    assert run(["down", "--purge"]) == 2
    assert "--yes" in capsys.readouterr().err


def test_reader_that_goes_away_is_no_error() -> None:
    """`midgate config | head -0`: no traceback, the code of a broken pipe."""
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as gone:
        answer = subprocess.run(
            [sys.executable, "-m", "midgate.cli", "config"],
            stdout=gone,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            check=False,
        )
    assert (answer.returncode, answer.stderr) == (cli.EXIT_BROKEN_PIPE, b"")


def test_help_imports_no_stream_library() -> None:
    """What makes `midgate --help` quick: the libraries are imported by the commands alone."""
    code = (
        "import sys; from midgate.cli import run; run(['--help'])\n"
        "heavy = {'faust', 'aiokafka', 'confluent_kafka', 'pydantic', 'fastavro', 'rich'}\n"
        "sys.exit(','.join(sorted(heavy & set(sys.modules))) or 0)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert (answer.returncode, answer.stderr) == (0, "")
