"""How fast the auditor judges, and in how much memory.

    python -m tests.bench.verify_bench [--events N] [--tenants N] [--changes N] [--processes N …]
                                       [--beside FOLDER]

A workload is routed by a real worker, with changes of rights in its middle; then the auditor
judges every topic, once for each number of processes. The figure counts raw events a second from
the call to the report, taking of the ends and start of processes included; memory is the largest
resident set of the auditor's processes together. `--beside` names a checkout whose
`python -m auditor` judges the same topics, for comparison.
"""

import argparse
import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path

from streams.settings import KafkaSettings, LayoutSettings
from tests.bench.router_bench import a_broker, machine_speed_ns, prepare, say
from tests.bench.workload import Workload, load, watch
from tests.rights_support import rights_office
from tests.worker_process import ROOT, WorkerProcess

TIMEOUT_S = 900.0
SAMPLE_S = 0.05
PAGE_MB = 4096 / 1e6


async def deliver(
    options: argparse.Namespace, kafka: KafkaSettings, layout: LayoutSettings, folder: Path
) -> None:
    """Fill every topic: raw by the loader, the rest by a worker while rights change."""
    workload = Workload(options.events, options.tenants, options.mids)
    await prepare(kafka, layout, workload)
    with ExitStack() as stack:
        worker = WorkerProcess(folder / "worker", kafka, layout)
        stack.callback(worker.close)
        loading = asyncio.create_task(load(workload, kafka.bootstrap, layout.topics.raw))
        await change_rights(options, kafka, layout, workload)
        await loading
        await watch(
            kafka.bootstrap,
            layout.router_group,
            layout.topics.raw,
            layout.partitions,
            timeout_s=TIMEOUT_S,
        )
        say(worker_exit=worker.terminate())


async def change_rights(
    options: argparse.Namespace, kafka: KafkaSettings, layout: LayoutSettings, workload: Workload
) -> None:
    """New grants while the events come in."""
    async with rights_office(kafka, layout) as office:
        mids = list(workload.rights())
        for number in range(options.changes):
            mid, tenant = mids[number % len(mids)].decode(), workload.tenant(0)
            record = office.grant_record(tenant, mid, f"later-{number}")
            await office.append_all([record])


def judge(arguments: list[str], folder: Path) -> dict[str, object]:
    """Run one audit; its report, the seconds it took and the memory it held."""
    command = [sys.executable, *arguments, "--output", "json"]
    began, used = time.monotonic(), _processor_s()
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE)
    held = [0.0]
    watching = threading.Thread(target=_watch_memory, args=(process, held), daemon=True)
    watching.start()
    out, _ = process.communicate()
    seconds = time.monotonic() - began
    watching.join()
    report = json.loads(out)
    return {
        "ok": report["ok"],
        "findings": report["findings_by_kind"],
        "raw": report["raw"],
        "delivered": sum(tenant["has"] for tenant in report["tenants"].values()),
        "seconds": round(seconds, 1),
        "events_per_s": round(report["raw"] / seconds),
        "cpu_us_per_event": round((_processor_s() - used) / max(report["raw"], 1) * 1e6, 1),
        "memory_mb": round(held[0]),
    }


def _processor_s() -> float:
    """Processor time of all children that have ended: it counts even on a busy machine."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def _watch_memory(process: "subprocess.Popen[bytes]", held: list[float]) -> None:
    while process.poll() is None:
        held[0] = max(held[0], sum(_resident_mb(pid) for pid in _family(process.pid)))
        time.sleep(SAMPLE_S)


def _family(pid: int) -> list[int]:
    """A process and all that it started."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(each for child in children for each in _family(int(child)))]


def _resident_mb(pid: int) -> float:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_MB
    except (OSError, IndexError):
        return 0.0


def run(options: argparse.Namespace, folder: Path, bootstrap: str) -> int:
    """The whole bench; exit code 1 when the auditor finds anything."""
    kafka = KafkaSettings(bootstrap=bootstrap)
    layout = LayoutSettings(prefix="bench", app_id="bench", partitions=4, lanes=2)
    asyncio.run(deliver(options, kafka, layout, folder))
    place = ["--bootstrap", bootstrap, "--prefix", "bench", "--app-id", "bench"]
    wrong = 0
    for processes in options.processes:
        say(machine_speed_ns=machine_speed_ns())
        more = ["--processes", str(processes)]
        figure = judge(["-m", "auditor", *place, *more], ROOT)
        say(processes=processes, **figure)
        wrong += not figure["ok"]
    if options.beside:
        say(beside=options.beside, **judge(["-m", "auditor", *place], Path(options.beside)))
    return 1 if wrong else 0


def main() -> int:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--tenants", type=int, default=100)
    parser.add_argument("--mids", type=int, default=10_000)
    parser.add_argument("--changes", type=int, default=2_000)
    parser.add_argument("--processes", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--beside", default="", help="another checkout, for comparison")
    parser.add_argument("--bootstrap", default="", help="a running broker (else one is started)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="midgate-bench-") as name:
        folder = Path(name)
        with a_broker(options.bootstrap, folder) as bootstrap:
            return run(options, folder, bootstrap)


if __name__ == "__main__":
    sys.exit(main())
