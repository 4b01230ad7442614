"""The command line, as an operator types it, on a real broker."""

import json
from collections.abc import Callable

import pytest

from midgate.cli import run

Midgate = Callable[..., tuple[int, dict]]


@pytest.fixture
def midgate(kafka, prefix, capsys, monkeypatch, tmp_path) -> Midgate:
    """Run one command line against an installation of the test's own: (exit code, JSON)."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def call(*arguments: str) -> tuple[int, dict]:
        place = ["--bootstrap", kafka.bootstrap, "--prefix", prefix, "--app-id", prefix]
        code = run([*place, *arguments, "--output", "json"])
        said = capsys.readouterr()
        call.errors = said.err
        return code, json.loads(said.out) if said.out.strip() else {}

    assert call("topics", "apply")[0] == 0
    return call
