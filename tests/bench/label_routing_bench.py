"""What labels cost the router: the yardstick's workload, a fifth of it of numbers with labels.

    python -m tests.bench.label_routing_bench [--events 200000] [--labels 1000000] [--scans 1]

Prints one line of JSON: microseconds of processor time an event with every owner in the digits, and
with every fifth event's owner in a label, looked up in stores on disk that hold `--labels` more.
Each number is scanned `--scans` times in a row; with 1, as in the router's bench, none comes twice.
"""

import argparse
import gc
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from streams.held_events import HeldEvents
from streams.label_lookup import LabelLookup, numbers_asked_for
from streams.label_store import LabelStore, LabelStores
from streams.packed_labels import pack
from streams.raw_record import RawRecord
from streams.rights import RightsSnapshot
from streams.routing import route_batch
from tests.bench.encoder import encode
from tests.bench.label_bench import a_label, pic
from tests.bench.routing_bench import APP_ID, NOW_MS, raw_records, rights_of
from tests.bench.workload import Workload, check_digit

PARTITIONS = 4
BATCH = 20_000
FIFTH = 5
Find = Callable[[int, Sequence[bytes]], list[bytes | None]]


def with_labels(
    workload: Workload, records: list[RawRecord], stores: list[LabelStore], scans: int
) -> list[RawRecord]:
    """Every fifth event under a number of AI 94 whose label names the same MID."""
    mids = [mid.decode() for _, _, mid in workload.pieces()]
    changed = []
    rows: list[list[tuple[bytes, bytes]]] = [[] for _ in stores]
    for position, record in enumerate(records):
        number = record.offset * PARTITIONS + record.partition
        if number % FIFTH:
            changed.append(record)
            continue
        piece = number - number % (FIFTH * PARTITIONS * scans) + number % (FIFTH * PARTITIONS)
        barcode = online(piece)
        label = a_label(piece)._replace(
            mid=mids[piece], valid_from_ms=0, valid_to_ms=1 << 46, mailing_date=None
        )
        rows[record.partition].append((barcode, pack(barcode.decode(), [label])))
        changed.append(record._replace(key=barcode, value=encode(position, barcode)))
    for store, labels in zip(stores, rows, strict=True):
        store.put(labels, 1)
    return changed


def online(number: int) -> bytes:
    """A valid number of AI 94, spread over the key space as real ones are."""
    body = b"94001%016d" % (number * 7_919_317 % 10**16)
    return body + check_digit(body)


def measure(
    records: list[RawRecord], snapshot: RightsSnapshot, find: Find, batch: int
) -> tuple[float, float, int]:
    """Microseconds an event, of processor time and by the clock; copies delivered."""
    held = HeldEvents(events_max=100_000, bytes_max=1 << 26, hold_ms=3_600_000)
    copies = 0
    gc.collect()
    gc.freeze()
    gc.disable()
    begun, began = time.process_time(), time.perf_counter()
    for first in range(0, len(records), batch):
        some = records[first : first + batch]
        desk = held.desk(LabelLookup(find), NOW_MS)
        if numbers := numbers_asked_for(some):
            desk.lookup.expect(numbers)
        routed = route_batch(some, snapshot, NOW_MS, app_id=APP_ID, desk=desk)
        copies += routed.delivered_copies
    cpu, clock = time.process_time() - begun, time.perf_counter() - began
    gc.enable()
    return cpu * 1e6 / len(records), clock * 1e6 / len(records), copies


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--labels", type=int, default=1_000_000)
    parser.add_argument("--scans", type=int, default=1, help="of each number that has a label")
    args = parser.parse_args()
    workload = Workload(events=args.events)
    rights = rights_of(workload)
    owned = raw_records(workload)
    with tempfile.TemporaryDirectory() as folder:
        opened = LabelStores(Path(folder))
        stores = [opened.open(str(number), "bench") for number in range(PARTITIONS)]
        for start in range(0, args.labels, 8_000):
            rows = [(pic(n), pack("", [a_label(n)])) for n in range(start, start + 8_000)]
            for number, store in enumerate(stores):
                store.put(rows[number::PARTITIONS], 0)
        fifth = with_labels(workload, owned, stores, args.scans)

        def find(partition: int, pics: Sequence[bytes]) -> list[bytes | None]:
            return stores[partition].find(pics)

        line: dict[str, object] = {"bench": "label_routing", "events": len(owned)}
        line["scans"] = args.scans
        line["labels"] = args.labels + len(owned) // FIFTH
        for name, records in (("owned", owned), ("fifth", fifth)):
            measure(records, rights.snapshot(0), find, BATCH)
            runs = [measure(records, rights.snapshot(0), find, BATCH) for _ in range(3)]
            cpu_us, clock_us, copies = min(runs)
            line[f"us_per_event_{name}"] = round(cpu_us, 2)
            line[f"us_by_the_clock_{name}"] = round(clock_us, 2)
            line[f"copies_{name}"] = copies
    print(json.dumps(line))


if __name__ == "__main__":
    main()
