"""kill -9 of workers and of the ingest while a file is being offered, judged by the auditor.

Goal: whatever is killed whenever, every tenant topic, read `read_committed`, holds exactly what is
due, in order for each package. Method: two workers, one ingest offering a generated file at a
steady rate, a timeline of kills drawn from a seed; what was killed is started again at once. At
the end the independent recount must find no difference.

The anomaly without the guard: workers whose offsets are not part of the transaction
(`tests/faults/unguarded_worker.py`) double events under the same kills, and the recount says so.
"""

import asyncio
import random
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from auditor.run import audit
from streams.settings import KafkaSettings, LayoutSettings
from tests.faults.processes import Fleet
from tests.faults.rights import grant_rights

pytestmark = [pytest.mark.broker, pytest.mark.fault]

MIDS = {"acme": ["901234567", "123456"], "globex": ["901234567"], "initech": []}


@dataclass
class Plan:
    """How much is offered, how fast, and what is killed."""

    events: int
    rate: int
    worker_kills: int
    ingest_kills: int
    worker: tuple[str, ...] = ("-m", "midgate.cli", "worker")
    timeline: list[tuple[float, str]] = field(default_factory=list)

    def draw(self, seed: int) -> None:
        """Kills at random moments of the offer, one in each equal part of it, in random order."""
        rng = random.Random(seed)
        kills = ["worker"] * self.worker_kills + ["ingest"] * self.ingest_kills
        rng.shuffle(kills)
        part = 0.9 * self.events / self.rate / len(kills)
        self.timeline = [((n + rng.random()) * part, what) for n, what in enumerate(kills)]


def generate(path: Path, events: int, seed: int) -> None:
    mids = [f"--mid={mid}" for mid in ("901234567", "123456", "907654321")]
    subprocess.run(
        [
            *(sys.executable, "-m", "midgate.cli", "generate", "see"),
            *("--events", str(events), "--mids", "20", "--seed", str(seed), "--out", str(path)),
            *mids,
        ],
        check=True,
    )


async def run_plan(
    plan: Plan, seed: int, folder: Path, kafka: KafkaSettings, layout: LayoutSettings
) -> dict:
    """Offer, kill, wait until all is decided, and let the auditor recount."""
    plan.draw(seed)
    rng = random.Random(seed + 1)
    generate(folder / "scans.see", plan.events, seed)
    await grant_rights(kafka, layout, MIDS)
    with Fleet(kafka, layout, folder) as fleet:
        workers = [fleet.start(f"worker{n}", *plan.worker) for n in range(2)]
        await fleet.until_ready(workers)
        offer = ("-m", "midgate.cli", "ingest", "see", str(folder / "scans.see"))
        offer += ("--rate", str(plan.rate))
        ingest = fleet.start("ingest", *offer)
        await fleet.until_offered()
        started = time.monotonic()
        for moment, what in plan.timeline:
            await asyncio.sleep(max(0.0, started + moment - time.monotonic()))
            if what == "worker":
                n = rng.randrange(2)
                workers[n] = workers[n].kill_and_start_again()
            elif ingest.poll() is None:
                ingest = ingest.kill_and_start_again()
        code = await asyncio.to_thread(ingest.wait, plan.events / plan.rate + 90)
        assert code == 0, ingest.tail()
        await fleet.until_all_decided(deadline_s=90)
    report = await audit({"bootstrap_servers": kafka.bootstrap}, layout.prefix, layout.app_id)
    print(f"seed {seed}: {plan.timeline}\n{report.as_text()}")
    return report.as_json()


def everything_in_its_place(found: dict, events: int) -> None:
    before_raw = sum(found["quarantined_before_raw"].values())
    assert found["raw"] + before_raw == events, "each line exactly once"
    assert found["tenants"]["acme"]["due"] > 0, "a run in which nothing is due shows nothing"
    assert found["ok"], found["findings"]


@pytest.mark.timeout(240)
async def test_kills_lose_and_double_nothing(
    seed, tmp_path, kafka_settings, layout_settings, midgate_topics
):
    """A slice: 30,000 events, two kills of a worker, one of the ingest."""
    plan = Plan(events=30_000, rate=2_000, worker_kills=2, ingest_kills=1)
    found = await run_plan(plan, seed, tmp_path, kafka_settings, layout_settings)
    everything_in_its_place(found, plan.events)


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_kills_lose_and_double_nothing_in_200000_events(
    seed, tmp_path, kafka_settings, layout_settings, midgate_topics
):
    plan = Plan(events=200_000, rate=2_000, worker_kills=5, ingest_kills=3)
    found = await run_plan(plan, seed, tmp_path, kafka_settings, layout_settings)
    everything_in_its_place(found, plan.events)


@pytest.mark.timeout(240)
async def test_without_the_offsets_in_the_transaction_kills_double_events(
    seed, tmp_path, kafka_settings, layout_settings, midgate_topics
):
    """The same kills with the guard off: the auditor must find what the guard prevents."""
    plan = Plan(
        events=20_000,
        rate=2_000,
        worker_kills=3,
        ingest_kills=0,
        worker=("-m", "tests.faults.unguarded_worker"),
    )
    found = await run_plan(plan, seed, tmp_path, kafka_settings, layout_settings)
    assert not found["ok"]
    assert "doubled" in found["findings_by_kind"], found["findings_by_kind"]
