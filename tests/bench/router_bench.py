"""The router's throughput with everything on, beside a naive Faust agent of the same job.

    python -m tests.bench.router_bench [--events N] [--tenants N] [--workers N] [--bootstrap H:P]
                                       [--core auto|plain|compiled] [--measure FILE]

Everything on: rights from the authorization log, lease, registrations, ledger, headers,
quarantine, metrics, one transaction a batch with acks=all; real worker processes; the broker on
the same machine. `--core`: the hot core modules compiled by mypyc, in a copy of the code, or as
plain Python; auto compiles where there is a C compiler. The figure runs from the commit of 10 % to
that of 100 % of the events, and is printed only after every tenant topic was read back and equals
what it should hold. `--measure` runs the neutral yardstick's own `watch` and `check` beside ours.
"""

import argparse
import asyncio
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from deploy.compile_core import compile_copy, copy_code, has_compiler
from deploy.local_kafka.broker import LocalKafka
from streams.settings import KafkaSettings, LayoutSettings
from streams.topics import TopicNames
from streams.topics_admin import apply_topics, create_tenant_topic
from tests.bench.workload import Workload, check, load, load_labels, watch
from tests.rights_support import RightsOffice, rights_office
from tests.worker_process import ROOT, WorkerProcess

TIMEOUT_S = 900.0
CREATE_AT_ONCE = 10


def say(**fields: object) -> None:
    """One JSON line on stdout."""
    print(json.dumps(fields), flush=True)


def machine_speed_ns() -> float:
    """Nanoseconds of one turn of an empty counting loop: what this machine gives us just now.

    45 on the idle machine the project's figures are from; figures taken at 150 are a third.
    """
    best = math.inf
    for _ in range(3):
        began, total = time.process_time(), 0
        for number in range(1_000_000):
            total += number
        best = min(best, (time.process_time() - began) * 1000)
    return round(best, 1)


@contextmanager
def a_broker(given: str, folder: Path) -> Iterator[str]:
    """The broker given, or one of our own with the default settings of `midgate up`."""
    if given:
        yield given
        return
    broker = LocalKafka(folder / "kafka")
    broker.start()
    try:
        yield broker.bootstrap
    finally:
        broker.stop()
        broker.purge()


async def prepare(kafka: KafkaSettings, layout: LayoutSettings, workload: Workload) -> None:
    """Topics, tenants, grants."""
    await apply_topics(kafka, layout)
    gate = asyncio.Semaphore(CREATE_AT_ONCE)

    async def make(number: int) -> None:
        async with gate:
            await create_tenant_topic(kafka, layout, workload.tenant(number), 1)

    await asyncio.gather(*(make(number) for number in range(workload.tenants)))
    async with rights_office(kafka, layout) as office:
        await office.append_all(_rights(office, workload, layout.topics))
        say(grants=len(office.follower.rights.grants), version=office.follower.version)


def _rights(
    office: RightsOffice, workload: Workload, names: TopicNames
) -> list[tuple[bytes, bytes]]:
    changes: list[tuple[bytes, bytes]] = []
    for number in range(workload.tenants):
        tenant = workload.tenant(number)
        changes += office.tenant_records(tenant, names.tenant(tenant), 1)
    for mid, owners in workload.rights().items():
        for number in owners:
            grant_id = f"{mid.decode()}-{number}"
            changes.append(office.grant_record(workload.tenant(number), mid.decode(), grant_id))
    return changes


async def route(
    options: argparse.Namespace, kafka: KafkaSettings, layout: LayoutSettings, folder: Path
) -> dict[str, float]:
    """Start the workers and watch them work the topic off."""
    raw = layout.topics.raw
    with ExitStack() as stack:
        started = time.monotonic()
        watching = asyncio.create_task(
            watch(kafka.bootstrap, layout.router_group, raw, layout.partitions, timeout_s=TIMEOUT_S)
        )
        workers = []
        for number in range(options.workers):
            worker = WorkerProcess(folder / f"worker{number}", kafka, layout, code=options.code)
            stack.callback(worker.close)
            workers.append(worker)
        beside = _yardstick(options, layout, "watch", "--group", layout.router_group)
        await asyncio.to_thread(_check_core, workers, options.core)
        spent = asyncio.create_task(asyncio.to_thread(_processor_time, workers, options.events))
        figure = await watching
        say(startup_to_end_s=round(time.monotonic() - started, 1))
        if beside is not None:
            say(yardstick_watch=json.loads(beside.communicate()[0]))
        figure["worker_cpu_us_per_event"] = await spent
        say(worker_exits=[worker.terminate() for worker in workers])
        return figure


def _check_core(workers: list[WorkerProcess], core: str) -> None:
    """Python prefers compiled modules, so a figure says for sure which ones ran."""
    for worker in workers:
        worker.wait_for("its pages", lambda worker=worker: worker.get("/metrics")[0] == 200)
        assert f'core="{core}"' in worker.get("/metrics")[1], f"this worker's core is not {core}"


def _processor_time(workers: list[WorkerProcess], events: int) -> float:
    """Processor time of the workers for an event, in microseconds, from 10 % of the events on.

    It says what an event costs even when somebody else uses the machine.
    """

    def look() -> tuple[float, float]:
        seconds = sum(worker.metric("process_cpu_seconds_total") for worker in workers)
        return seconds, sum(worker.metric("midgate_events_routed_total") for worker in workers)

    first = None
    until = time.monotonic() + TIMEOUT_S
    while time.monotonic() < until:
        seconds, routed = look()
        if first is None and routed >= events / 10:
            first = seconds, routed
        if first is not None and routed >= events:
            return round((seconds - first[0]) / max(routed - first[1], 1) * 1e6, 2)
        time.sleep(0.1)
    raise TimeoutError("the workers' own counters did not reach the number of events")


def _yardstick(
    options: argparse.Namespace, layout: LayoutSettings, step: str, *more: str
) -> "subprocess.Popen[bytes] | None":
    if not options.measure:
        return None
    command = [sys.executable, options.measure, step, "--bootstrap", options.bootstrap_in_use]
    command += ["--prefix", layout.prefix, "--events", str(options.events)]
    command += ["--tenants", str(options.tenants), "--mids", str(options.mids)]
    command += ["--partitions", str(layout.partitions), "--rights", "none"]
    command += ["--encoder", "tests.bench.encoder:encode", *more]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, env=environment)


async def naive(options: argparse.Namespace, kafka: KafkaSettings, folder: Path) -> dict[str, Any]:
    """The same job as a plain Faust agent, on fewer events."""
    workload = Workload(options.naive_events, options.tenants, options.mids)
    layout = LayoutSettings(prefix=f"{options.prefix}-naive", app_id=f"{options.prefix}-naive")
    await apply_topics(kafka, layout)
    gate = asyncio.Semaphore(CREATE_AT_ONCE)

    async def make(number: int) -> None:
        async with gate:
            await create_tenant_topic(kafka, layout, workload.tenant(number), 1)

    await asyncio.gather(*(make(number) for number in range(workload.tenants)))
    await load(workload, kafka.bootstrap, layout.topics.raw)
    environment = {
        **os.environ,
        "NAIVE_BOOTSTRAP": kafka.bootstrap,
        "NAIVE_RAW": layout.topics.raw,
        "NAIVE_PREFIX": layout.prefix,
        "NAIVE_TENANTS": str(workload.tenants),
    }
    command = [sys.executable, "-m", "faust", "-A", "tests.bench.naive_agent", "worker"]
    with (folder / "naive.log").open("wb") as out:
        agent = subprocess.Popen(  # noqa: ASYNC220
            command, cwd=ROOT, env=environment, stdout=out, stderr=out
        )
        try:
            figure = await watch(
                kafka.bootstrap,
                layout.prefix,
                layout.topics.raw,
                layout.partitions,
                timeout_s=TIMEOUT_S,
            )
        finally:
            agent.terminate()
            agent.wait(30)
    return figure


async def run(options: argparse.Namespace, folder: Path) -> int:
    """The whole bench; exit code 1 when a tenant topic is wrong."""
    kafka = KafkaSettings(bootstrap=options.bootstrap_in_use)
    layout = LayoutSettings(
        prefix=options.prefix, app_id=options.prefix, partitions=4, lanes=options.lanes
    )
    workload = Workload(options.events, options.tenants, options.mids, labelled=options.labelled)
    await prepare(kafka, layout, workload)
    if options.labelled:
        say(labels=await load_labels(workload, kafka.bootstrap, layout.topics.labels))
    seconds = await load(workload, kafka.bootstrap, layout.topics.raw)
    say(loaded=options.events, seconds=round(seconds, 1))
    say(machine_speed_ns=machine_speed_ns())
    figure = await route(options, kafka, layout, folder)
    say(machine_speed_ns=machine_speed_ns())
    right = await check(workload, kafka.bootstrap, layout.prefix)
    say(check=right)
    if beside := _yardstick(options, layout, "check"):
        say(yardstick_check=json.loads(beside.communicate()[0]))
    if right["wrong_tenants"]:
        return 1
    say(
        router=figure,
        core=options.core,
        labelled=options.labelled,
        workers=options.workers,
        lanes=options.lanes,
        tenants=options.tenants,
    )
    if options.naive_events:
        say(naive_faust_agent=await naive(options, kafka, folder))
    return 0


def main() -> int:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--naive-events", type=int, default=20_000, help="0: leave it out")
    parser.add_argument("--tenants", type=int, default=100)
    parser.add_argument("--mids", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--lanes", type=int, default=2)
    parser.add_argument("--prefix", default="bench")
    parser.add_argument("--bootstrap", default="", help="a running broker (else one is started)")
    parser.add_argument("--core", choices=("auto", "plain", "compiled"), default="auto")
    parser.add_argument("--labelled", action="store_true", help="a fifth of them needs a label")
    parser.add_argument("--measure", default="", help="path of the neutral yardstick measure.py")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="midgate-bench-") as name:
        folder = Path(name)
        compiled = options.core == "compiled" or (options.core == "auto" and has_compiler())
        options.code = folder / "code"
        (compile_copy if compiled else copy_code)(options.code)
        options.core = "compiled" if compiled else "plain"
        with a_broker(options.bootstrap, folder) as bootstrap:
            options.bootstrap_in_use = bootstrap
            return asyncio.run(run(options, folder))


if __name__ == "__main__":
    sys.exit(main())
