"""How long `midgate explain` takes, as an operator waits for it: with the index, and without.

    .venv/bin/python -m tests.bench.explain_bench [--events 500000] [--backlog 200000]

Starts a broker of its own, routes that many scans as they come (twelve a piece, two tenants
entitled), indexes them, and calls the command as a process of its own: Python's start and the
log's reading count. Then a backlog of other pieces is routed at once, and asked for before the
index has caught up (`behind`) and after it (`backlog`).
"""

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

from deploy.local_kafka.broker import LocalKafka
from streams import clients
from streams.settings import KafkaSettings, LayoutSettings
from streams.topics_admin import apply_topics
from tests.rights_support import rights_office
from tests.router_support import Event, barcode, event
from tests.worker_process import running_worker

SCANS = 12
MID = "901234567"
CALLS = 7
PENDING_MAX = 20_000


def events(count: int, first: int) -> Iterator[Event]:
    """A piece's scans are spread over the whole stream; only one in ten is of our MID.

    Pieces are numbered from `first` on.
    """
    pieces = max(1, count // SCANS)
    for at in range(count):
        piece = first + at % pieces
        mid = MID if piece % 10 == 0 else f"9{piece % 1000:08d}"
        yield event(barcode(mid, piece), code=f"{at // pieces % 90 + 10}")


async def prepare(kafka: KafkaSettings, layout: LayoutSettings) -> None:
    await apply_topics(kafka, layout)
    async with rights_office(kafka, layout) as office:
        for tenant in ("acme", "globex"):
            await office.add_tenant(tenant)
            await office.grant(tenant, MID, f"g-{tenant}")


async def offer(kafka: KafkaSettings, topic: str, count: int, first: int = 0) -> None:
    producer = clients.idempotent_producer(kafka, linger_ms=20)
    await clients.start(producer, kafka)
    pending = []
    for key, value in events(count, first):
        now_ms = int(time.time() * 1000)
        pending.append(await producer.send(topic, key=key, value=value, timestamp_ms=now_ms))
        if len(pending) == PENDING_MAX:
            await asyncio.gather(*pending)
            pending.clear()
    await asyncio.gather(*pending)
    await producer.stop()


def called(kafka: KafkaSettings, layout: LayoutSettings, *arguments: str) -> tuple[float, dict]:
    place = ["--bootstrap", kafka.bootstrap, "--prefix", layout.prefix, "--app-id", layout.app_id]
    command = [sys.executable, "-m", "midgate.cli", *place, *arguments, "--output", "json"]
    began = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    return time.perf_counter() - began, json.loads(done.stdout)


def measure(
    kafka: KafkaSettings, layout: LayoutSettings, name: str, count: int, first: int = 0
) -> dict[str, object]:
    """Seconds of each kind of question about pieces from `first` on: the median, the longest."""
    drawn = random.Random(1)
    pieces = max(1, count // SCANS)
    spent: dict[str, list[float]] = {"number": [], "event": [], "position": []}
    for _ in range(CALLS):
        number = barcode(MID, first + drawn.randrange(pieces // 10) * 10)
        seconds, answer = called(kafka, layout, "explain", number)
        spent["number"].append(seconds)
        found = answer["explain"]["events"]
        assert answer["explain"]["search"]["how"] == "index"
        assert len(found) >= SCANS - 1
        assert all(copy["found"] == "yes" for one in found for copy in one["delivered"])
        happened = found[-1]["event"]
        spent["event"].append(called(kafka, layout, "explain", happened["event_id"])[0])
        spent["position"].append(called(kafka, layout, "explain", happened["position"])[0])
    line: dict[str, object] = {}
    for kind, lasted in spent.items():
        line[f"{name}_{kind}_s_p50"] = round(sorted(lasted)[CALLS // 2], 2)
        line[f"{name}_{kind}_s_max"] = round(max(lasted), 2)
    return line


def routed(
    folder: Path,
    kafka: KafkaSettings,
    layout: LayoutSettings,
    count: int,
    offered: Coroutine[Any, Any, None] | None = None,
) -> None:
    """Run a worker until it has routed what stands in raw and what is offered meanwhile."""
    with running_worker(folder, kafka, layout) as worker:
        worker.wait_ready()
        if offered is not None:
            asyncio.run(offered)
        worker.wait_for(
            "all is routed", lambda: worker.metric("midgate_events_routed_total") >= count, 600
        )


def course(
    folder: Path, kafka: KafkaSettings, layout: LayoutSettings, count: int, backlog: int
) -> Iterator[dict[str, object]]:
    """The figures, as they are measured."""
    topic = layout.topics.raw
    yield {"bench": "explain", "events": count, "backlog": backlog}
    routed(folder, kafka, layout, count, offer(kafka, topic, count))
    scanned, _ = called(kafka, layout, "explain", barcode(MID, 0))
    indexing, _ = called(kafka, layout, "index", "--once")
    yield {"by_scan_s": round(scanned, 2), "index_events_per_s": round(count / indexing)}
    yield measure(kafka, layout, "steady", count)
    if backlog:
        first = count // 10 * 10
        asyncio.run(offer(kafka, topic, backlog, first))
        routed(folder, kafka, layout, backlog)
        yield measure(kafka, layout, "behind", backlog, first)
        called(kafka, layout, "index", "--once")
        yield measure(kafka, layout, "backlog", backlog, first)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=500_000)
    parser.add_argument("--backlog", type=int, default=200_000, help="0: none")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="midgate-bench-") as root:
        folder = Path(root)
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        os.environ["MIDGATE_INDEX_DIR"] = str(folder / "index")
        broker = LocalKafka(folder / "kafka", jvm_heap="1g")
        broker.start()
        try:
            kafka = KafkaSettings(bootstrap=broker.bootstrap)
            layout = LayoutSettings()
            asyncio.run(prepare(kafka, layout))
            line: dict[str, object] = {}
            for figures in course(folder, kafka, layout, chosen.events, chosen.backlog):
                line |= figures
                print(json.dumps(figures), file=sys.stderr)
            print(json.dumps(line))
        finally:
            broker.stop()


if __name__ == "__main__":
    main()
