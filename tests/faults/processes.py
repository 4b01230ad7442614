"""Processes of one fault test: started, killed, started again, and ended with it."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from aiokafka import AIOKafkaConsumer, TopicPartition

from streams import clients
from streams.settings import KafkaSettings, LayoutSettings

ROOT = Path(__file__).parents[2]
LOG_TAIL_BYTES = 6000


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Process:
    """One process with a log; `kill_and_start_again` gives the same one, fresh."""

    name: str
    arguments: tuple[str, ...]
    environment: dict[str, str]
    log: Path

    def __post_init__(self) -> None:
        self.port = free_port()
        with self.log.open("ab") as log:
            self._popen = subprocess.Popen(
                [sys.executable, *self.arguments],
                env={**self.environment, "MIDGATE_WEB_PORT": str(self.port)},
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                start_new_session=True,
            )

    def poll(self) -> int | None:
        return self._popen.poll()

    def wait(self, timeout_s: float) -> int:
        return self._popen.wait(timeout_s)

    def signal(self, number: int) -> None:
        if self.poll() is None:
            os.killpg(self._popen.pid, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self._popen.wait(10)

    def kill_and_start_again(self) -> "Process":
        """SIGKILL, no chance to clean up; then the same command anew, into the same log."""
        self.kill()
        return Process(self.name, self.arguments, self.environment, self.log).adopted_by(self)

    def adopted_by(self, other: "Process") -> "Process":
        fleet = getattr(other, "fleet", None)
        if fleet is not None:
            fleet.processes.append(self)
            self.fleet = fleet
        return self

    def tail(self) -> str:
        """The end of its log."""
        return self.log.read_bytes()[-LOG_TAIL_BYTES:].decode("utf-8", "replace")

    def page(self, path: str) -> tuple[int, dict]:
        """Status and JSON of one of its pages; (0, {}) when nobody answers."""
        url = f"http://127.0.0.1:{self.port}{path}"
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                return answer.status, json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"{}")
        except (OSError, ValueError):
            return 0, {}


class Fleet:
    """All processes of one installation under test; ends them all when left."""

    def __init__(
        self, kafka: KafkaSettings, layout: LayoutSettings, folder: Path, **variables: str
    ) -> None:
        self.kafka = kafka
        self.layout = layout
        self.folder = folder
        self.processes: list[Process] = []
        self.environment = {
            **os.environ,
            "MIDGATE_BOOTSTRAP": kafka.bootstrap,
            "MIDGATE_PREFIX": layout.prefix,
            "MIDGATE_APP_ID": layout.app_id,
            "MIDGATE_SESSION_TIMEOUT_MS": "6000",
            "MIDGATE_TRANSACTION_TIMEOUT_MS": "5000",
            "PYTHONPATH": str(ROOT),
            **variables,
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            if error is not None:
                print(f"--- {process.name}\n{process.tail()}")

    def start(self, name: str, *arguments: str) -> Process:
        process = Process(name, arguments, self.environment, self.folder / f"{name}.log")
        process.fleet = self  # type: ignore[attr-defined]
        self.processes.append(process)
        return process

    async def until_ready(self, workers: list[Process], *, deadline_s: float = 60) -> None:
        """Until every worker answers 200 on /ready."""
        deadline = time.monotonic() + deadline_s
        for worker in workers:
            while (await asyncio.to_thread(worker.page, "/ready"))[0] != 200:
                assert worker.poll() is None, worker.tail()
                assert time.monotonic() < deadline, f"{worker.name} is not ready: {worker.tail()}"
                await asyncio.sleep(0.2)

    async def until_offered(self, *, deadline_s: float = 60) -> None:
        """Until the first event stands in raw: a process takes seconds to come up."""
        deadline = time.monotonic() + deadline_s
        consumer: AIOKafkaConsumer = clients.consumer(self.kafka)
        await consumer.start()
        try:
            while not any((await consumer.end_offsets(self._raw())).values()):
                assert time.monotonic() < deadline, "nothing was offered"
                await asyncio.sleep(0.1)
        finally:
            await consumer.stop()

    def _raw(self) -> list[TopicPartition]:
        topic = self.layout.topics.raw
        return [TopicPartition(topic, number) for number in range(self.layout.partitions)]

    async def until_all_decided(self, *, deadline_s: float) -> None:
        """Until the router's committed offsets stand at the end of raw."""
        deadline = time.monotonic() + deadline_s
        places = self._raw()
        consumer: AIOKafkaConsumer = clients.consumer(self.kafka)
        admin = clients.admin(self.kafka)
        await consumer.start()
        await admin.start()
        try:
            while True:
                left = await self._undecided(consumer, admin, places)
                if not left:
                    return
                assert time.monotonic() < deadline, f"{left} records not decided"
                await asyncio.sleep(0.3)
        finally:
            await admin.close()
            await consumer.stop()

    async def _undecided(self, consumer, admin, places) -> int:
        """Records between committed offsets and the last one, read by who sees only records."""
        committed = await admin.list_consumer_group_offsets(self.layout.router_group)
        left = 0
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        for place in places:
            start = committed[place].offset if place in committed else 0
            consumer.seek(place, start)
            while await consumer.position(place) < ends[place]:
                batch = await consumer.getmany(place, timeout_ms=200)
                left += sum(len(records) for records in batch.values())
        return left
