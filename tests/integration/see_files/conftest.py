"""Files and readers for tests of the ingest."""

import random
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from connectors.see_files.generator import Plan, generate
from connectors.see_files.line_reader import LineReader
from connectors.see_files.reader_setup import line_reader


@pytest.fixture(scope="session")
def reader() -> LineReader:
    return line_reader()


@pytest.fixture
def see_file(tmp_path: Path) -> Callable[..., Path]:
    """Write a generated file of so many lines."""

    def write(lines: int, seed: int = 1, name: str = "see.txt") -> Path:
        path = tmp_path / name
        plan = Plan(date(2026, 7, 1), 20, lines=lines)
        portions = generate(plan, random.Random(seed))
        path.write_bytes(b"".join(line + b"\n" for portion in portions for line in portion))
        return path

    return write
