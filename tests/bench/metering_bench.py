"""First events of many tracking numbers: facts from a topic to units in a topic, on a real broker.

Writes facts of `--events` events, each of a number of its own, to one partition, as the router
would; then, each in a process of its own: meters them all, starts again with the store that is
there, starts again without one, and counts a statement. Prints rates, peak memory and disk.
"""

import argparse
import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from midgate.reading import reading
from midgate.usage_reading import MonthCounts, whole_topic
from schemas.reasons import UnitBilling
from streams import clients
from streams.billable import FACT_EVENTS_MAX, BillableFacts
from streams.metrics import Metrics
from streams.partition_meter import metering
from streams.settings import KafkaSettings, LayoutSettings, Settings, StoreSettings
from streams.topics_admin import apply_topics
from streams.usage_records import month_of
from streams.usage_store import UsageStores
from tests.metering_support import number, route

AGREEMENTS = ("agr-1", "agr-2", "agr-3", "agr-4")
PREFIX = "bench"


def settings(bootstrap: str, folder: Path | None) -> Settings:
    return Settings(
        kafka=KafkaSettings(bootstrap=bootstrap),
        layout=LayoutSettings(prefix=PREFIX, app_id=PREFIX, partitions=1, lanes=1),
        stores=StoreSettings(data_dir=folder),
    )


def disk_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


async def write(chosen: Settings, events: int) -> None:
    """Numbers in an order that has nothing to do with theirs, as scans come."""
    await apply_topics(chosen.kafka, chosen.layout)
    routes = [route(agreement) for agreement in AGREEMENTS]
    # Facts older than their topic's retention would be removed while they are metered.
    decided_at = int(time.time() * 1000)
    producer = clients.idempotent_producer(chosen.kafka, compression_type="lz4")
    await clients.start(producer, chosen.kafka)
    try:
        for start in range(0, events, FACT_EVENTS_MAX):
            facts = BillableFacts(decided_at)
            for offset in range(start, min(events, start + FACT_EVENTS_MAX)):
                serial = offset * 7_368_787 % 9_999_999_967
                facts.add(0, offset, number(serial).encode(), 3, routes[offset % len(routes)])
            for key, value, at, _ in facts.records()[0]:
                await producer.send(
                    chosen.layout.topics.metering, value, key=key, partition=0, timestamp_ms=at
                )
    finally:
        await producer.stop()


async def meter(chosen: Settings) -> dict[str, float]:
    """From a start order to the end of the facts."""
    began = time.perf_counter()
    metrics = Metrics("bench")
    stores = UsageStores(chosen.stores.data_dir)
    async with metering(chosen, metrics, stores, 0) as one:
        started = time.perf_counter()
        await one.catch_up()
        ended = time.perf_counter()
    units = metrics.usage_units.labels("billable")._value.get()
    return {"start_s": started - began, "meter_s": ended - started, "units": units}


async def count(chosen: Settings) -> dict[str, float]:
    """A statement's counts of one agreement."""
    began = time.perf_counter()
    counts = MonthCounts(AGREEMENTS[0], month_of(int(time.time() * 1000)))
    async with reading(chosen.kafka) as consumer:
        topic = chosen.layout.topics.usage
        async for records in whole_topic(consumer, topic, lambda done, total: None):
            counts.read(records)
    units = counts.units()[("SEE", UnitBilling.BILLABLE)]
    counts.close()
    return {"start_s": 0.0, "meter_s": time.perf_counter() - began, "units": units}


def child(bootstrap: str, folder: Path | None, what: str) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.bench.metering_bench", "--bootstrap", bootstrap]
    command += ["--only", what] + (["--folder", str(folder)] if folder else [])
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--only", choices=["meter", "count"])
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    chosen = settings(given.bootstrap, given.folder)
    if given.only:
        result = asyncio.run(meter(chosen) if given.only == "meter" else count(chosen))
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({**result, "peak_mb": peak_mb}))
        return
    asyncio.run(write(chosen, given.events))
    with tempfile.TemporaryDirectory(prefix="midgate-bench-") as name:
        folder = Path(name)
        for title, where, what in (
            ("metered", folder, "meter"),
            ("started again", folder, "meter"),
            ("started without a store", None, "meter"),
            ("counted a statement", None, "count"),
        ):
            found = child(given.bootstrap, where, what)
            seconds = found["meter_s"] if found["units"] else found["start_s"]
            rate = (found["units"] or given.events) / seconds
            print(
                f"{title:<26} {seconds:8.1f} s  {rate:9,.0f} units/s"
                f"  peak {found['peak_mb']:.0f} MB  disk {disk_bytes(folder) / 1e6:,.0f} MB"
            )


if __name__ == "__main__":
    main()
