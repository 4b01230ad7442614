"""What routing costs an event, in processor time: the yardstick's workload through the pure core.

    python -m tests.bench.routing_bench [--events 200000] [--tenants 100]

Prints one line of JSON: microseconds an event and events a second of one process, for large
batches and for small ones, where what is prepared for a batch weighs more.
"""

import argparse
import gc
import json
import random
import time
from collections.abc import Sequence
from typing import Any

from streams import changes
from streams.raw_record import RawRecord
from streams.rights import Rights, RightsSnapshot
from streams.routing import route_batch
from tests.bench.workload import Workload

NOW_MS = 1_786_000_000_000
APP_ID = "midgate"


def rights_of(workload: Workload) -> Rights:
    """The workload's rights, applied from the bytes of a log."""
    rights = Rights()
    rng = random.Random(workload.seed)

    def append(value: bytes) -> None:
        applied = rights.apply(rights.version, NOW_MS, value)
        assert applied.verdict == "accepted", applied

    def stamp() -> dict[str, Any]:
        return {"actor": "bench", "reason": "bench", "change_id": rng.randbytes(16)}

    append(changes.log_start_change("00000000-0000-4000-8000-000000000000", **stamp()))
    append(changes.layout_change(APP_ID, 2, 4, **stamp()))
    for number in range(workload.tenants):
        tenant = workload.tenant(number)
        topic = f"midgate.tenant.{tenant}"
        append(
            changes.tenant_change(
                tenant, name=tenant, party_type="SHIPPER", topic=topic, partitions=1, **stamp()
            )
        )
        append(changes.terms_change(tenant, "2026", True, **stamp()))
    for mid, owners in workload.rights().items():
        for number in owners:
            tenant = workload.tenant(number)
            body = changes.grant_body(
                f"{mid.decode()}-{tenant}",
                tenant_id=tenant,
                basis="OWNER",
                channels=["API", "WEBHOOK", "SEE"],
                mid=mid.decode(),
                effective_from=0,
            )
            append(changes.grant_change(body, **stamp()))
    return rights


def raw_records(workload: Workload) -> list[RawRecord]:
    """The workload's events in four partitions, as fetched: runs of one partition."""
    records = [
        RawRecord(number % 4, number // 4, NOW_MS, barcode, value)
        for number, (barcode, value, _) in enumerate(workload.pieces())
    ]
    return sorted(records, key=lambda record: (record.offset // 1000, record.partition))


def measure(
    records: Sequence[RawRecord], snapshot: RightsSnapshot, batch: int
) -> tuple[float, int]:
    """Microseconds of processor time an event, and copies delivered."""
    copies = 0
    gc.collect()
    gc.freeze()
    gc.disable()  # as the worker does (streams/garbage.py)
    begun = time.process_time()
    for first in range(0, len(records), batch):
        routed = route_batch(records[first : first + batch], snapshot, NOW_MS, app_id=APP_ID)
        copies += routed.delivered_copies
    gc.enable()
    return (time.process_time() - begun) * 1e6 / len(records), copies


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--tenants", type=int, default=100)
    args = parser.parse_args()
    workload = Workload(events=args.events, tenants=args.tenants)
    rights = rights_of(workload)
    records = raw_records(workload)
    measure(records, rights.snapshot(0), 20_000)
    line: dict[str, object] = {"bench": "routing", "events": len(records)}
    for batch in (20_000, 200):
        cost_us, copies = min(measure(records, rights.snapshot(0), batch) for _ in range(3))
        line[f"us_per_event_batch_{batch}"] = round(cost_us, 2)
        line[f"events_per_s_batch_{batch}"] = round(1e6 / cost_us)
        line["copies_per_event"] = round(copies / len(records), 2)
    print(json.dumps(line))


if __name__ == "__main__":
    main()
