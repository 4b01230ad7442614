"""The index of raw records: events taken in a second, look-ups, disk and memory.

    .venv/bin/python -m tests.bench.index_bench [--events 20000000] [--folder FOLDER]

Fills an index as `midgate index` does, but for the fetching: a piece has twelve scans, spread over
the whole stream, as over days. Then, in a fresh process, opens it and looks up random numbers and
event ids, cold and warm, beside a look-up of numbers that are not there.
"""

import argparse
import json
import multiprocessing
import random
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from schemas.codec import encode
from streams.index_keys import Term, keys_of, number_term, terms_of
from streams.raw_index import RawIndex
from streams.raw_record import RawRecord

PARTITIONS = 4
SCANS = 12
STEP = 4_000
LOOK_UPS = 200
TARGET = 216_000_000


def number_of(piece: int) -> bytes:
    body = b"9205590" + b"%014d" % (1_234_567_000_000 + piece * 7_919 % 10**9)
    total = sum((3 if at % 2 == 0 else 1) * (digit - 48) for at, digit in enumerate(body[::-1]))
    return body + b"%d" % (-total % 10)


def templates() -> tuple[bytes, bytes]:
    """A record's bytes before and after its number; the walk's work is that of a real record."""
    mark = "9" * 22
    value = encode(
        "tracking_event",
        {
            "barcode": mark,
            "event_code": "10",
            "event_time": 1_786_000_000_000,
            "time_basis": "UTC",
            "facility_zip": "90009",
            "mailing_date": None,
            "channel": "SEE",
            "event_name": "PROCESSED THROUGH FACILITY",
        },
    )
    before, _, after = value.partition(mark.encode())
    return before, after


def records(events: int) -> Iterator[list[RawRecord]]:
    before, after = templates()
    pieces = max(1, events // SCANS)
    for start in range(0, events, STEP):
        batch = []
        for at in range(start, min(events, start + STEP)):
            number = number_of(at % pieces)
            value = before + number + after
            batch.append(RawRecord(at % PARTITIONS, at // PARTITIONS, 0, number, value))
        yield batch


def resident_mb() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("no RssAnon in /proc/self/status")


def size_mb(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def fill(folder: Path, events: int) -> None:
    memory = peak = resident_mb()
    index = RawIndex.open(folder, "bench")
    index.begin(dict.fromkeys(range(PARTITIONS), 0))
    taken = longest = 0.0
    for count, batch in enumerate(records(events)):
        began = time.perf_counter()
        index.add(keys_of(batch), dict.fromkeys(range(PARTITIONS), batch[-1].offset + 1))
        lasted = time.perf_counter() - began
        taken, longest = taken + lasted, max(longest, lasted)
        if not count % 50:
            peak = max(peak, resident_mb())
    index.close()
    disk = size_mb(folder)
    line = {
        "bench": "index fill",
        "events": events,
        "events_per_s": round(events / taken),
        "longest_step_s": round(longest, 2),
        "memory_mb": round(peak - memory),
        "disk_mb": round(disk),
        "disk_mb_per_million": round(disk / events * 1e6, 1),
        "disk_gb_at_216_million": round(disk / events * TARGET / 1e3, 1),
    }
    print(json.dumps(line), flush=True)


def look_up(folder: Path, events: int) -> None:
    memory = resident_mb()
    drawn = random.Random(1)
    pieces = max(1, events // SCANS)
    before, after = templates()
    began = time.perf_counter()
    with RawIndex.reading(folder, "bench") as index:
        assert index is not None
        opened = time.perf_counter() - began
        spent: dict[str, list[float]] = {"number": [], "event": [], "absent": []}
        for _ in range(LOOK_UPS):
            number = number_of(drawn.randrange(pieces))
            event = terms_of((0, 0, 0, b"", before + number + after, ()))[1]
            asked = {
                "number": number_term(number),
                "event": Term(event=event),
                "absent": number_term(number_of(drawn.randrange(pieces) + 10**8)),
            }
            for name, term in asked.items():
                began = time.perf_counter()
                found = index.find(term)
                spent[name].append(time.perf_counter() - began)
                assert bool(found) == (name != "absent") or name == "absent", name
        blocks = sum((one.position >> 21) + 1 for one in index.spans.values())
    line = {
        "bench": "index look-up",
        "events": events,
        "blocks": blocks,
        "blocks_at_216_million": PARTITIONS * (TARGET // PARTITIONS // 2**21 + 1),
        "open_ms": round(opened * 1000, 1),
        "memory_mb": round(resident_mb() - memory),
    }
    for name, lasted in spent.items():
        lasted.sort()
        line[f"{name}_ms_p50"] = round(lasted[len(lasted) // 2] * 1000, 2)
        line[f"{name}_ms_max"] = round(lasted[-1] * 1000, 2)
    print(json.dumps(line), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=5_000_000)
    parser.add_argument("--folder", type=Path, help="where; else a temporary folder")
    options = parser.parse_args()
    root = options.folder or Path(tempfile.mkdtemp(prefix="midgate-index-bench-"))
    try:
        for work in (fill, look_up):
            process = multiprocessing.get_context("spawn").Process(
                target=work, args=(root / "index", options.events)
            )
            process.start()
            process.join()
            if process.exitcode:
                raise SystemExit(process.exitcode)
    finally:
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main()
