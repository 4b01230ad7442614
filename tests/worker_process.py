"""A worker as operators run it: a process of its own, judged from outside by its pages and logs."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from streams.settings import KafkaSettings, LayoutSettings

ROOT = Path(__file__).parent.parent
START_S_MAX = 40.0

MIDGATE = (sys.executable, "-m", "midgate.cli", "worker")
FAUST = (sys.executable, "-m", "faust", "-A", "streams.worker", "worker", "-l", "info")
# `faust -A` needs nothing of the command line's, and is what a Faust user types.


class WorkerProcess:
    """One worker with JSON logs and pages on a free port; `code` is the tree that it runs."""

    def __init__(
        self,
        folder: Path,
        kafka: KafkaSettings,
        layout: LayoutSettings,
        *,
        command: tuple[str, ...] = FAUST,
        code: Path = ROOT,
        **settings: object,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.log_file = folder / "worker.log"
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("MIDGATE_")
        } | {
            "MIDGATE_BOOTSTRAP": kafka.bootstrap,
            "MIDGATE_PREFIX": layout.prefix,
            "MIDGATE_APP_ID": layout.app_id,
            "MIDGATE_WEB_PORT": "0",
            "MIDGATE_LOG_FORMAT": "json",
            "TMPDIR": str(folder),
            "PYTHONUNBUFFERED": "1",
        }
        environment |= {f"MIDGATE_{name.upper()}": str(value) for name, value in settings.items()}
        self._out = self.log_file.open("wb")
        self.process = subprocess.Popen(
            command,
            cwd=code,
            env=environment,
            stdout=self._out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def lines(self, event: str | None = None) -> list[dict[str, Any]]:
        """Log lines (only JSON ones), all or those of one event."""
        found = []
        for line in self.log_file.read_text(errors="replace").splitlines():
            with contextlib.suppress(ValueError):
                entry = json.loads(line)
                if isinstance(entry, dict) and event in (None, entry.get("event")):
                    found.append(entry)
        return found

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of a page; status 0 while nobody answers."""
        told = self.lines("web_listening")
        if not told:
            return 0, ""
        try:
            with urllib.request.urlopen(told[-1]["url"] + path, timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def ready(self) -> dict[str, Any]:
        """Body of `/ready`; empty while nobody answers."""
        status, body = self.get("/ready")
        return json.loads(body) if status else {}

    def metric(self, name: str, **labels: str) -> float:
        """Sum over the series of a metric that carry these labels; 0 when there is none."""
        total = 0.0
        for line in self.get("/metrics")[1].splitlines():
            series, _, value = line.rpartition(" ")
            if series.partition("{")[0] == name and all(
                f'{label}="{text}"' in series for label, text in labels.items()
            ):
                total += float(value)
        return total

    def wait_for(
        self, what: str, holds: Callable[[], object], timeout_s: float = START_S_MAX
    ) -> None:
        """Until it holds; fails with the log's tail when the worker ends or time is up."""
        until = time.monotonic() + timeout_s
        while not holds():
            if self.process.poll() is not None:
                raise AssertionError(f"the worker ended, waiting until {what}:\n{self.tail()}")
            if time.monotonic() > until:
                raise AssertionError(f"not within {timeout_s:g} s: {what}\n{self.tail()}")
            time.sleep(0.05)

    def wait_ready(self, lanes: int | None = None, timeout_s: float = START_S_MAX) -> None:
        """Until `/ready` says so, with so many lanes."""

        def holds() -> bool:
            body = self.ready()
            return bool(body.get("ready")) and lanes in (None, len(body["lanes"]))

        self.wait_for(f"ready with {lanes} lanes", holds, timeout_s)

    def terminate(self, timeout_s: float = 20.0) -> int:
        """SIGTERM, and wait for the end; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s)

    def kill(self) -> None:
        """SIGKILL."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)

    def tail(self, lines: int = 40) -> str:
        """The last lines of its log."""
        return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-lines:])

    def close(self) -> None:
        """End it whatever its state."""
        self.kill()
        self._out.close()


@contextmanager
def running_worker(*arguments: Any, **options: Any) -> Iterator[WorkerProcess]:
    """A worker that ends with the block."""
    worker = WorkerProcess(*arguments, **options)
    try:
        yield worker
    finally:
        worker.close()
