"""A process of ours, remembered in a file, told apart from a later one with the same id."""

import contextlib
import json
import os
import signal
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Running:
    """What the pid file says: process, its start as the system tells it, and its ports."""

    pid: int
    started: str
    port: int
    controller_port: int


def start_of(pid: int) -> str | None:
    """The start of a living process in the system's own words, None if there is none.

    A process id is used again after a while; id and start together are not. A zombie counts as
    gone: inside a container nobody may ever reap it.
    """
    stat = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        return None if fields[0] in "ZX" else fields[19]
    answer = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    state, _, started = answer.stdout.strip().partition(" ")
    return None if not state or state.startswith("Z") else started.strip()


def is_alive(running: Running) -> bool:
    return start_of(running.pid) == running.started


def read_pid_file(path: Path) -> Running | None:
    """What was started here last, alive or not; None without a readable file."""
    try:
        return Running(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def write_pid_file(path: Path, running: Running) -> None:
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(asdict(running)))
    temporary.replace(path)


def end(running: Running, *, term_timeout_s: float, kill_timeout_s: float = 10) -> bool:
    """End that very process: SIGTERM, a deadline, SIGKILL. True when it is gone."""
    if is_alive(running):
        with contextlib.suppress(ProcessLookupError):
            os.kill(running.pid, signal.SIGTERM)
    return _gone_within(running, term_timeout_s) or kill(running, timeout_s=kill_timeout_s)


def kill(running: Running, *, timeout_s: float = 10) -> bool:
    """SIGKILL, as a crash would be. True when it is gone."""
    if is_alive(running):
        with contextlib.suppress(ProcessLookupError):
            os.kill(running.pid, signal.SIGKILL)
    return _gone_within(running, timeout_s)


def _gone_within(running: Running, timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while is_alive(running):
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.02)
    return True
