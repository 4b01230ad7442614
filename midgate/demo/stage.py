"""What the demonstration runs on: a broker, a worker and commands, each a real process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from streams.errors import MidgateError

if TYPE_CHECKING:
    from streams.settings import KafkaSettings, LayoutSettings

READY_S_MAX = 60.0
DECIDED_S_MAX = 120.0
STOP_S_MAX = 20.0
POLL_S = 0.2
LOG_TAIL_LINES = 15


class DemoError(MidgateError):
    """A part of the demonstration did not do what it must."""


@contextmanager
def work_folder() -> Iterator[Path]:
    """A temporary folder, removed afterwards; kept, and named, when something went wrong."""
    folder = Path(tempfile.mkdtemp(prefix="midgate-demo-"))
    try:
        yield folder
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt | asyncio.CancelledError):
            shutil.rmtree(folder, ignore_errors=True)
        else:
            error.add_note(f"what it left behind: {folder}")
            from midgate.output import note

            note(f"the demonstration's folder is kept: {folder}")
        raise
    shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class Stage:
    """Where things happen."""

    folder: Path
    kafka: KafkaSettings
    layout: LayoutSettings
    commands: list[subprocess.Popen[str]] = field(default_factory=list)

    def environment(self, **more: str) -> dict[str, str]:
        """What a process of ours needs to find broker and topics."""
        return {
            **os.environ,
            "MIDGATE_BOOTSTRAP": self.kafka.bootstrap,
            "MIDGATE_PREFIX": self.layout.prefix,
            "MIDGATE_APP_ID": self.layout.app_id,
            **more,
        }

    def command(self, *arguments: str) -> subprocess.Popen[str]:
        """Start one midgate command; its JSON comes on stdout."""
        process = subprocess.Popen(
            [sys.executable, "-m", "midgate.cli", *arguments],
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.commands.append(process)
        return process

    def end_commands(self) -> None:
        """Kill what still runs: only an interrupted demonstration leaves something to kill."""
        for process in self.commands:
            if process.poll() is None:
                process.kill()
                process.wait(STOP_S_MAX)

    @contextmanager
    def worker(self) -> Iterator[Worker]:
        """A running worker; told to stop when left, and killed if it does not."""
        worker = Worker(self)
        try:
            yield worker
        finally:
            worker.stop()


async def finished(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Wait for a command and return its JSON. Raises DemoError with what it said on stderr."""
    out, err = await asyncio.to_thread(process.communicate)
    if process.returncode:
        raise DemoError(f"a command failed with exit code {process.returncode}: {err.strip()}")
    answer: dict[str, Any] = json.loads(out)
    return answer


class Worker:
    """`midgate worker` on a free port."""

    def __init__(self, stage: Stage) -> None:
        self.log = stage.folder / "worker.log"
        self.port = _free_port()
        log: IO[bytes] = self.log.open("wb")
        with log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "midgate.cli", "worker"],
                env=stage.environment(MIDGATE_WEB_PORT=str(self.port)),
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    async def until_ready(self) -> None:
        """Until `/ready` answers 200. Raises DemoError with the end of its log."""
        deadline = time.monotonic() + READY_S_MAX
        while not await asyncio.to_thread(self._ready):
            if self._process.poll() is not None or time.monotonic() > deadline:
                lines = self.log.read_text("utf-8", "replace").splitlines()[-LOG_TAIL_LINES:]
                raise DemoError("the worker is not ready; its last words:\n" + "\n".join(lines))
            await asyncio.sleep(POLL_S)

    def _ready(self) -> bool:
        with contextlib.suppress(OSError, urllib.error.HTTPError):
            url = f"http://127.0.0.1:{self.port}/ready"
            with urllib.request.urlopen(url, timeout=2) as answer:  # our own
                return bool(answer.status == 200)
        return False

    def stop(self) -> None:
        """SIGTERM, and SIGKILL after a while."""
        if self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(STOP_S_MAX)


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def until_decided(stage: Stage) -> None:
    """Until no committed raw record lies behind the router's committed offsets."""
    from aiokafka import TopicPartition

    from midgate.reading import reading
    from streams import clients

    places = [TopicPartition(stage.layout.topics.raw, p) for p in range(stage.layout.partitions)]
    admin = clients.admin(stage.kafka)
    await clients.start(admin, stage.kafka)
    deadline = time.monotonic() + DECIDED_S_MAX
    try:
        async with reading(stage.kafka) as consumer:
            consumer.assign(places)
            ends = await consumer.end_offsets(places)
            lasts = {place: await _last_record(consumer, place, ends[place]) for place in places}
            while True:
                done = await admin.list_consumer_group_offsets(stage.layout.router_group)
                if all(done[place].offset > last for place, last in lasts.items()):
                    return
                if time.monotonic() > deadline:
                    raise DemoError(f"not all was decided within {DECIDED_S_MAX:.0f} s")
                await asyncio.sleep(POLL_S)
    finally:
        await admin.close()


async def _last_record(consumer: Any, place: Any, end: int) -> int:
    """Offset of the last record below `end` (markers of transactions are none); -1: there is none.

    A transaction's marker follows its records, so the last record stands a few offsets back.
    """
    from midgate.reading import records_between

    begin = (await consumer.beginning_offsets([place]))[place]
    distance = 10
    while True:
        start = max(begin, end - distance)
        records = await records_between(consumer, place, start, end)
        if records:
            return int(records[-1].offset)
        if start == begin:
            return -1
        distance *= 4
