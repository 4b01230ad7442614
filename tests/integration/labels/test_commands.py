"""`midgate labels`, as an operator types it, on a real broker."""

import json
from collections.abc import Callable

import pytest

from midgate.cli import run
from streams.label_csv import HEADER

pytestmark = pytest.mark.broker

ONLINE, RETAIL = "9400111206206406260787", "9505511069605048600624"
Midgate = Callable[..., tuple[int, dict]]


@pytest.fixture
def midgate(kafka, prefix, capsys) -> Midgate:
    """Run one command line against an installation of the test's own: (exit code, JSON)."""

    def call(*arguments: str) -> tuple[int, dict]:
        place = ["--bootstrap", kafka.bootstrap, "--prefix", prefix, "--app-id", prefix]
        code = run([*place, *arguments, "--output", "json"])
        said = capsys.readouterr()
        call.errors = said.err
        return code, json.loads(said.out) if said.out.strip() else {}

    assert call("topics", "apply")[0] == 0
    return call


def row(pic: str, label_id: str = "", *, mid: str = "901234567", to: str = "2026-08-20") -> str:
    return f"{pic},{label_id},{mid},acme,,,2026-07-20,{to},,"


def test_a_file_is_imported_once_shown_and_never_in_part(midgate, tmp_path):
    file = tmp_path / "labels.csv"
    good = [",".join(HEADER), row(ONLINE, "a"), row(RETAIL, "b"), row(ONLINE, "c")]

    file.write_text(
        "\n".join([*good, row("9400111206206406260788"), row(RETAIL, "b", mid="123456")])
    )
    code, answer = midgate("labels", "import", str(file))
    assert code == 2, midgate.errors
    assert [(one["line"], one["column"]) for one in answer["errors"]] == [
        (5, "pic"),
        (6, "label_id"),
    ]
    assert "6 digits" not in midgate.errors
    assert "nothing was imported" in midgate.errors
    assert midgate("labels", "show", ONLINE)[1]["labels"] == []

    file.write_text("\n".join(good))
    code, answer = midgate("labels", "import", str(file), "--dry-run")
    assert (code, answer["import"]["new"], answer["import"]["written"]) == (0, 3, 0)
    assert midgate("labels", "show", ONLINE)[1]["labels"] == []
    assert midgate("labels", "import", str(file))[1]["import"]["written"] == 3
    again = midgate("labels", "import", str(file))[1]["import"]
    assert (again["new"], again["known"], again["written"]) == (0, 3, 0)

    shown = midgate("labels", "show", "420787459400111206206406260787")[1]
    assert shown["pic"] == ONLINE
    assert [one["label_id"] for one in shown["labels"]] == ["a", "c"]
    assert shown["labels"][0]["valid_to"] == "2026-08-20T00:00:00Z"

    file.write_text("\n".join([good[0], row(ONLINE, "d"), row(ONLINE, "a", to="2026-09-20")]))
    code, answer = midgate("labels", "import", str(file))
    assert code == 2
    assert [(one["line"], one["column"]) for one in answer["errors"]] == [(3, "label_id")]
    assert "valid_to_ms" in answer["errors"][0]["expected"]
    assert len(midgate("labels", "show", ONLINE)[1]["labels"]) == 2


def test_what_is_no_file_or_number_is_said(midgate, tmp_path):
    assert midgate("labels", "import", str(tmp_path / "none.csv"))[0] == 2
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    assert midgate("labels", "import", str(tmp_path / "binary.csv"))[0] == 2
    assert "UTF-8" in midgate.errors
    assert midgate("labels", "import", str(tmp_path))[0] == 2
    assert midgate("labels", "show", "12345")[0] == 2
