"""The lease goes by one clock, and that clock counts the time a machine sleeps."""

import ast
import time
from pathlib import Path

import pytest

from streams.lease_clock import lease_clock

STREAMS = Path(__file__).parents[3] / "streams"


def readings(module: str) -> set[str]:
    """Clocks that the module reads or hands on, as they are spelled there."""
    tree = ast.parse((STREAMS / f"{module}.py").read_text())
    names = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    names |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return {name for name in names if name.startswith("time.") or name == "lease_clock"}


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="this system has no such clock")
def test_suspend_counts() -> None:
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert before <= lease_clock() <= time.clock_gettime(time.CLOCK_BOOTTIME)


@pytest.mark.parametrize("module", ["follower", "log_watch"])
def test_all_instants_of_the_lease_are_of_this_clock(module: str) -> None:
    assert readings(module) == {"lease_clock"}


def test_a_lane_checks_the_lease_by_this_clock() -> None:
    tree = ast.parse((STREAMS / "lane.py").read_text())
    handed = [
        ast.unparse(keyword.value)
        for keyword in ast.walk(tree)
        if isinstance(keyword, ast.keyword) and keyword.arg == "monotonic"
    ]
    assert handed == ["lease_clock"]
