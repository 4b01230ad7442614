"""What reading costs: microseconds a call, plain and (with --compiled) compiled by mypyc.

    python -m tests.bench.schemas_bench [--compiled] [--json]

Each figure is the best of many short rounds, so that a busy machine disturbs it least. fastavro's
full decode stands beside as the yardstick: figures of two machines compare by their ratio to it.
The compiled run builds a copy of the package in a temporary folder; the checkout stays as it is.
"""

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastavro

from deploy.compile_core import compile_copy
from schemas import barcode, event_reader
from schemas.codec import FRAME_BYTES, decode, encode, frame_id, schema_text
from schemas.event_id import event_id

ROUNDS = 300
CALLS = 200
EVENT: dict[str, Any] = {
    "barcode": "9261290336128704042634",
    "event_code": "01",
    "event_time": 1_784_817_120_000,
    "time_basis": "LOCAL",
    "facility_zip": "90009",
    "channel": "SEE",
    "event_name": "DELIVERED",
    "facility_name": "LOS ANGELES",
    "destination_zip": "90245",
    "destination_zip4": "0000",
    "destination_country": "US",
    "mailer_mid": "903361287",
    "mailer_name": "ABC COMPANY",
    "mail_owner_mid": "903361287",
    "logistics_manager_mid": "901131854",
    "electronic_file_number": "9250000000000000000000",
    "customer_reference": "REF-1",
    "weight": "000000500",
    "weight_unit": "1",
    "restricted": {"recipient_name": "J DOE", "firm": None},
}
GRANT: dict[str, Any] = {
    "grant_id": "g-000001",
    "tenant_id": "acme",
    "scope": "MID",
    "mid": "903361287",
    "channels": ["API", "WEBHOOK", "SEE"],
    "basis": "OWNER",
    "status": "ACTIVE",
    "effective_from": 1_784_817_120_000,
}


def microseconds(call: Callable[[], object]) -> float:
    """Best round of many."""
    best = float("inf")
    for _ in range(ROUNDS):
        started = time.perf_counter()
        for _ in range(CALLS):
            call()
        best = min(best, time.perf_counter() - started)
    return best / CALLS * 1e6


def measure() -> dict[str, float]:
    """Every case, in the order of the table."""
    event = encode("tracking_event", EVENT)
    accented = encode("tracking_event", EVENT | {"facility_name": "SAN JOSÉ"})
    dated = encode("tracking_event", EVENT | {"mailing_date": 20_000, "channel": "API"})
    grant = encode("grant", GRANT)
    change = encode(
        "authorization_change",
        {
            "change_id": bytes(16),
            "subject": "grant/g-000001",
            "base": -1,
            "kind": "GRANT",
            "rule_version": 1,
            "restricting": False,
            "actor": "bench",
            "reason": "bench",
            "body": grant,
        },
    )
    facts = event_reader.read_event(event)
    schema = fastavro.parse_schema(json.loads(schema_text(frame_id("tracking_event"))))
    cases: dict[str, Callable[[], object]] = {
        "owner, 22 digits": lambda: barcode.owner(b"9261290336128704042634"),
        "owner, 26 digits": lambda: barcode.owner(b"92748931507708513018050063"),
        "owner, ZIP5 + 22": lambda: barcode.owner(b"420902459261290336128704042634"),
        "owner, 34 digits": lambda: barcode.owner(b"4201002334249200190132607600833457"),
        "read_event, SEE": lambda: event_reader.read_event(event),
        "read_event, with mailing date": lambda: event_reader.read_event(dated),
        "read_event, beyond ASCII": lambda: event_reader.read_event(accented),
        "event_id": lambda: event_id(facts.barcode, facts),
        "decode, event": lambda: decode(event),
        "decode, grant": lambda: decode(grant),
        "decode, its envelope": lambda: decode(change),
        "encode, event": lambda: encode("tracking_event", EVENT),
        "encode, grant": lambda: encode("grant", GRANT),
        "fastavro's decode, event": lambda: fastavro.schemaless_reader(
            io.BytesIO(event[FRAME_BYTES:]), schema, None
        ),
    }
    return {name: microseconds(call) for name, call in cases.items()}


def measure_compiled() -> dict[str, float]:
    """The same in a process that imports a compiled copy."""
    with tempfile.TemporaryDirectory() as folder:
        compile_copy(Path(folder))
        done = subprocess.run(
            [sys.executable, str(Path(__file__).resolve()), "--json"],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": folder},
            capture_output=True,
            text=True,
            check=True,
            timeout=600,
        )
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["module"].endswith(".so"), "the compiled copy was not the one measured"
    times: dict[str, float] = found["microseconds"]
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description="What reading costs, in microseconds a call.")
    parser.add_argument("--compiled", action="store_true", help="also compiled by mypyc")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    options = parser.parse_args()
    plain = measure()
    if options.json:
        print(json.dumps({"module": barcode.__file__, "microseconds": plain}))
        return
    compiled = measure_compiled() if options.compiled else {}
    print(f"{'µs a call':<32}{'plain':>8}" + (f"{'compiled':>10}" if compiled else ""))
    for name, time_us in plain.items():
        print(f"{name:<32}{time_us:>8.2f}" + (f"{compiled[name]:>10.2f}" if compiled else ""))


if __name__ == "__main__":
    main()
