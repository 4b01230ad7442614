"""What the rights cost in processor time and memory.

    python -m tests.bench.rights_bench [--grants 100000]

Prints one line of JSON: applying a log of that many grants (one by one, and as an import), the
memory they take, a snapshot and a change after it, a dump and its loading.
"""

import argparse
import gc
import json
import random
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

from streams import changes
from streams.rights import Rights

T = TypeVar("T")

NOW_MS = 1_786_000_000_000
TENANTS = 100
SNAPSHOTS = 200


def resident_bytes() -> int:
    """Memory of this process, as Linux counts it."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def timed(work: Callable[[], T]) -> tuple[float, T]:
    """Seconds of processor time, and the result."""
    begun = time.process_time()
    result = work()
    return time.process_time() - begun, result


def log(grants: int, *, as_import: bool) -> Iterator[bytes]:
    """Values of a whole log: start, layout, tenants, grants."""
    rng = random.Random(1)
    import_id = rng.randbytes(16) if as_import else None

    def stamp() -> dict[str, Any]:
        return {"actor": "bench", "reason": "bench", "change_id": rng.randbytes(16)}

    yield changes.log_start_change("00000000-0000-4000-8000-000000000000", **stamp())
    yield changes.layout_change("midgate", 2, 4, **stamp())
    for number in range(TENANTS):
        tenant, topic = f"{number:04d}", f"midgate.tenant.{number:04d}"
        yield changes.tenant_change(
            tenant, name=tenant, party_type="SHIPPER", topic=topic, partitions=1, **stamp()
        )
        yield changes.terms_change(tenant, "2026", True, **stamp())
    digest = sha256()
    for number in range(grants):
        change = stamp()
        digest.update(change["change_id"])
        body = changes.grant_body(
            f"g-{number:020x}",
            tenant_id=f"{number % TENANTS:04d}",
            basis="OWNER",
            channels=["API", "WEBHOOK", "SEE"],
            mid=f"9{number * 7919 % 10**8:08d}",
            effective_from=1_775_000_000_000,
        )
        yield changes.grant_change(body, import_id=import_id, **change)
    if import_id is not None:
        yield changes.import_close_change(import_id, grants, digest.digest(), **stamp())


def apply_all(values: list[bytes]) -> Rights:
    """The rights after the whole log."""
    rights = Rights()
    for offset, value in enumerate(values):
        assert not rights.apply(offset, NOW_MS, value).verdict.startswith("void")
    return rights


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--grants", type=int, default=100_000)
    grants = parser.parse_args().grants
    values = list(log(grants, as_import=False))
    gc.collect()
    gc.freeze()
    before = resident_bytes()
    line: dict[str, object] = {"bench": "rights", "grants": grants}
    seconds, rights = timed(lambda: apply_all(values))
    line["apply_s"] = round(seconds, 2)
    line["memory_mb"] = round((resident_bytes() - before) / 1e6, 1)

    def snapshots() -> None:
        for number in range(SNAPSHOTS):
            rights.snapshot(0.0)
            stamp: dict[str, Any] = {"actor": "b", "reason": "b"}
            end = changes.grant_end_change(
                f"g-{number:020x}", change_id=number.to_bytes(16, "big"), **stamp
            )
            rights.apply(rights.version, NOW_MS, end)

    line["snapshot_and_change_us"] = round(timed(snapshots)[0] / SNAPSHOTS * 1e6, 1)
    seconds, data = timed(rights.dump)
    line["dump_s"], line["dump_mb"] = round(seconds, 2), round(len(data) / 1e6, 1)
    line["load_s"] = round(timed(lambda: Rights.load(data))[0], 2)
    imported = list(log(grants, as_import=True))
    line["import_s"] = round(timed(lambda: apply_all(imported))[0], 2)
    print(json.dumps(line))


if __name__ == "__main__":
    main()
