"""What following the authorization log costs, from a real broker.

    python -m tests.bench.follower_bench --bootstrap HOST:PORT [--grants 100000]

Prints one line of JSON: appending an import of that many grants, its verdict, a start from an
empty state and one from a local snapshot (wall and processor time), and one append and verdict.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

from streams.follower import Follower
from streams.settings import AuthorizationSettings, KafkaSettings, LayoutSettings
from streams.topics_admin import apply_topics
from tests.log_support import following, tenant, whole_import, writing

ENOUGH_S = 300.0
SINGLE_APPENDS = 50


async def timed_start(
    kafka: KafkaSettings, layout: LayoutSettings, folder: Path | None
) -> tuple[float, float]:
    """Wall and processor time until a follower is current."""
    settings = AuthorizationSettings(snapshot_dir=folder)
    follower = Follower(kafka, layout, settings, heartbeat=False)
    wall, processor = time.perf_counter(), time.process_time()
    await follower.start(ready_within_s=ENOUGH_S)
    spent = time.perf_counter() - wall, time.process_time() - processor
    await follower.stop()
    return spent


async def measure(bootstrap: str, grants: int) -> dict[str, Any]:
    prefix = f"bench{uuid.uuid4().hex[:8]}"
    kafka = KafkaSettings(bootstrap=bootstrap)
    layout = LayoutSettings(prefix=prefix, app_id=prefix, partitions=4, lanes=2)
    await apply_topics(kafka, layout)
    line: dict[str, Any] = {"bench": "follower", "grants": grants}
    async with (
        following(kafka, layout, heartbeat=False, lease_s=5.0) as follower,
        writing(kafka, layout, follower) as writer,
    ):
        await writer.append(*tenant(layout))
        rows = whole_import(grants)
        appended_at: list[float] = []
        begun = time.perf_counter()
        await writer.append_many(
            rows,
            timeout_s=ENOUGH_S,
            on_progress=lambda done: appended_at.append(time.perf_counter()),
        )
        line["append_rows_per_s"] = round(grants / (appended_at[-1] - begun))
        line["import_s"] = round(time.perf_counter() - begun, 2)
        singles = []
        for number in range(SINGLE_APPENDS):
            begun = time.perf_counter()
            await writer.append(*tenant(layout, f"t{number}"))
            singles.append(time.perf_counter() - begun)
        line["append_and_verdict_ms"] = round(statistics.median(singles) * 1000, 1)
    with tempfile.TemporaryDirectory() as name:
        for start in ("start_empty", "start_snapshot"):
            wall, processor = await timed_start(kafka, layout, Path(name))
            line[f"{start}_s"], line[f"{start}_cpu_s"] = round(wall, 2), round(processor, 2)
    return line


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--grants", type=int, default=100_000)
    arguments = parser.parse_args()
    print(json.dumps(asyncio.run(measure(arguments.bootstrap, arguments.grants))))


if __name__ == "__main__":
    main()
