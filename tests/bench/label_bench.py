"""Labels on disk: memory and look-ups a second, for some millions of them.

    .venv/bin/python -m tests.bench.label_bench --labels 10000000

Fills one store a partition as a lane does, then opens them in a fresh process (what a worker that
restarts has) and looks up random labels: one by one, and batched as a lane asks for a batch of
events. Memory is what the process occupies beyond Python itself, its page cache not counted.
"""

import argparse
import multiprocessing
import random
import tempfile
import time
from pathlib import Path

from streams.label_history import Label
from streams.label_store import LabelStore, LabelStores
from streams.packed_labels import pack, unpack_entries

PARTITIONS = 4
IN_A_BATCH = 4_000
LOOK_UPS = 200_000


def pic(number: int) -> bytes:
    """Spread over the key space as real numbers are, of which serials are only a part."""
    return b"94001%017d" % (number * 7_919_317 % 10**17)


def a_label(number: int) -> Label:
    start = 1_785_000_000_000 + number
    return Label(
        f"l-{number:020x}",
        f"9{number % 10_000:08d}",
        f"tenant-{number % 500}",
        "",
        start,
        start,
        start + 90 * 86_400_000,
        20_650 + number % 30,
        "",
    )


def resident_mb() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("no RssAnon in /proc/self/status")


def opened(folder: Path) -> list[LabelStore]:
    stores = LabelStores(folder)
    return [stores.open(str(number), "bench") for number in range(PARTITIONS)]


def fill(folder: Path, count: int) -> None:
    """As a lane fills it, but for the record's own decoding."""
    before = resident_mb()
    stores = opened(folder)
    began = time.perf_counter()
    peak = 0.0
    for start in range(0, count, 8_000):
        rows = [(pic(n), pack(pic(n).decode(), [a_label(n)])) for n in range(start, start + 8_000)]
        for number, store in enumerate(stores):
            store.put(rows[number::PARTITIONS], start)
        if start % 200_000 == 0:
            peak = max(peak, resident_mb())
    seconds = time.perf_counter() - began
    for store in stores:
        store.close()
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(
        f"filled {count:,}: {count / seconds:,.0f} labels/s, at most {peak - before:.0f} MB beyond"
        f" Python, {size / 1e6:,.0f} MB on disk"
    )


def look_up(folder: Path, count: int) -> None:
    before = resident_mb()
    stores = opened(folder)
    drawn = random.Random(1)
    numbers = [drawn.randrange(count // 8_000 * 8_000) for _ in range(LOOK_UPS)]
    keys: list[list[bytes]] = [[] for _ in stores]
    for n in numbers:
        keys[n % 8_000 % PARTITIONS].append(pic(n))
    for words, size in (("one by one", 1), (f"batches of {IN_A_BATCH:,}", IN_A_BATCH)):
        began = time.perf_counter()
        found = 0
        for store, wanted in zip(stores, keys, strict=True):
            for start in range(0, len(wanted), size):
                for packed in store.find(sorted(wanted[start : start + size])):
                    found += packed is not None
        seconds = time.perf_counter() - began
        print(f"looked up {words}: {LOOK_UPS / seconds:,.0f}/s, {found:,} of {LOOK_UPS:,} found")
    began = time.perf_counter()
    absent = sum(
        packed is None for packed in stores[0].find([b"95%020d" % n for n in range(LOOK_UPS)])
    )
    print(f"looked up absent ones: {LOOK_UPS / (time.perf_counter() - began):,.0f}/s, {absent:,}")
    packed = pack("1", [a_label(1)])
    began = time.perf_counter()
    for _ in range(LOOK_UPS):
        unpack_entries(b"1", packed)
    print(f"unpacked: {LOOK_UPS / (time.perf_counter() - began):,.0f}/s")
    print(f"memory with {count:,} labels: {resident_mb() - before:.0f} MB beyond Python")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--labels", type=int, default=1_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for work in (fill, look_up):
            process = multiprocessing.get_context("spawn").Process(
                target=work, args=(Path(folder), options.labels)
            )
            process.start()
            process.join()


if __name__ == "__main__":
    main()
