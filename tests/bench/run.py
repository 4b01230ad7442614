"""Every bench, one after the other: `make bench`.

Figures only mean something side by side in one run on one machine, so each line is printed with
what else is in the run, and the whole is appended to `tests/results/bench.jsonl` with commit, date
and machine.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from deploy.compile_core import has_compiler
from deploy.local_kafka.broker import LocalKafka

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "tests" / "results" / "bench.jsonl"


def run(module: str, *arguments: str) -> str:
    """Run one bench; its stdout goes through to ours."""
    print(f"--- {module} {' '.join(arguments)}", flush=True)
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    print(done.stdout, flush=True)
    if done.returncode:
        raise SystemExit(f"{module} failed with exit code {done.returncode}")
    return done.stdout


def on_a_broker(module: str, *arguments: str) -> str:
    with tempfile.TemporaryDirectory(prefix="midgate-bench-") as folder:
        broker = LocalKafka(Path(folder) / "kafka", jvm_heap="1g")
        broker.start()
        try:
            return run(module, "--bootstrap", broker.bootstrap, *arguments)
        finally:
            broker.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--tenants", type=int, default=100)
    chosen = parser.parse_args()
    size = ("--events", str(chosen.events), "--tenants", str(chosen.tenants))
    alone = ("--naive-events", "0")
    compiled = ("--compiled",) if has_compiler() else ()
    outputs = {
        "schemas": run("tests.bench.schemas_bench", *compiled),
        "rights": run("tests.bench.rights_bench"),
        "routing": run("tests.bench.routing_bench"),
        "follower": on_a_broker("tests.bench.follower_bench"),
        "ingest": on_a_broker("tests.bench.ingest_bench"),
        "metering": on_a_broker("tests.bench.metering_bench"),
        "router, two workers": run("tests.bench.router_bench", *size, "--workers", "2", *alone),
        "router, plain Python": run("tests.bench.router_bench", *size, "--core", "plain", *alone),
        "router": run("tests.bench.router_bench", *size),
    }
    head = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True
    )
    row = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": head.stdout.strip(),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "python": platform.python_version(),
        "load_before": os.getloadavg()[0],
        "outputs": outputs,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    with RESULTS.open("a") as file:
        file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
