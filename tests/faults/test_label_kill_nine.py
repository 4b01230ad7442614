"""kill -9 of workers while scans and their labels come in any order.

Goal: each scan of a number whose label comes within its hour stands exactly once in the topic of
the label's owner, in order for the number, whatever is killed whenever. Method: two workers with
one data folder, scans of 300 numbers offered step by step, each number's label registered at a
random step, before, among or after its scans; kills drawn from a seed, what was killed is started
again at once. What is due is known by construction.

The anomaly without the guard: workers that take what a batch releases out of memory before the
transaction is committed, and do not read the holds again after a failure, lose or double events.
"""

import asyncio
import random
from collections import defaultdict
from pathlib import Path

import pytest

from auditor.run import audit
from schemas.codec import decode
from streams.settings import KafkaSettings, LayoutSettings
from tests.faults.processes import Fleet
from tests.faults.rights import grant_rights
from tests.labels_support import label, online, register, scan
from tests.router_support import offer, placed
from tests.transaction_support import eventually

pytestmark = [pytest.mark.broker, pytest.mark.fault]

OWNERS = {"acme": "901234567", "globex": "907654321"}
NUMBERS, STEPS = 300, 12


@pytest.mark.timeout(240)
async def test_kills_lose_double_and_misorder_nothing_that_waits(
    seed: int,
    tmp_path: Path,
    kafka_settings: KafkaSettings,
    layout_settings: LayoutSettings,
    midgate_topics,
) -> None:
    kafka, layout = kafka_settings, layout_settings
    rng = random.Random(seed)
    numbers = [online(n) for n in range(NUMBERS)]
    owner = {number: rng.choice(list(OWNERS)) for number in numbers}
    labelled_at = defaultdict(list)
    for number in numbers:
        labelled_at[rng.randrange(STEPS + 1)].append(number)
    await grant_rights(kafka, layout, {tenant: [mid] for tenant, mid in OWNERS.items()})
    with Fleet(kafka, layout, tmp_path, MIDGATE_DATA_DIR=str(tmp_path / "data")) as fleet:
        command = ("-m", "midgate.cli", "worker")
        workers = [fleet.start(f"worker{n}", *command) for n in range(2)]
        await fleet.until_ready(workers)
        killed = 0
        for step in range(STEPS + 1):
            labels = {number: label(OWNERS[owner[number]]) for number in labelled_at[step]}
            scans = [scan(number, f"{step:02d}") for number in numbers] if step < STEPS else []
            both = [offer(kafka, layout.topics.raw, scans), register(kafka, layout, labels)]
            rng.shuffle(both)
            working = asyncio.gather(*both)
            if step % 3 == 1:
                await asyncio.sleep(rng.random())
                n = rng.randrange(2)
                workers[n] = workers[n].kill_and_start_again()
                killed += 1
            await working
            await asyncio.sleep(rng.random())
        assert killed >= 4
        wanted = {
            tenant: {number for number in numbers if owner[number] == tenant} for tenant in OWNERS
        }

        async def all_there() -> bool:
            counts = [
                len(await placed(kafka, layout.topics.tenant(tenant))) >= len(due) * STEPS
                for tenant, due in wanted.items()
            ]
            return all(counts)

        await fleet.until_all_decided(deadline_s=90)
        await eventually(all_there, "what waited is placed")
    for tenant, due in wanted.items():
        got = defaultdict(list)
        for record in await placed(kafka, layout.topics.tenant(tenant)):
            got[record.key.decode()].append(decode(record.value)[1]["event_code"])
        assert set(got) == due
        steps = [f"{step:02d}" for step in range(STEPS)]
        assert {number: codes for number, codes in got.items() if codes != steps} == {}
    await _ledger_agrees(kafka, layout, len(numbers) * STEPS)
    report = await audit({"bootstrap_servers": kafka.bootstrap}, layout.prefix, layout.app_id)
    assert report.ok, report.as_text()
    assert report.judgement.tally.decided == len(numbers) * STEPS


async def _ledger_agrees(kafka: KafkaSettings, layout: LayoutSettings, events: int) -> None:
    """Spans join, positions never go back, and what waited was decided anew once, and later."""
    by_partition = defaultdict(list)
    for record in await placed(kafka, layout.topics.ledger):
        entry = decode(record.value)[1]
        by_partition[entry["partition"]].append(entry)
    waited = 0
    for entries in by_partition.values():
        position, labels, anew = 0, 0, set()
        for entry in entries:
            assert entry["raw_from"] == position
            assert entry["label_position"] >= labels
            for offset in entry.get("decided_anew", ()):
                assert offset < entry["raw_from"]
                assert offset not in anew
                anew.add(offset)
            assert not entry.get("given_up")
            assert not entry.get("not_held")
            position, labels = entry["raw_next"], entry["label_position"]
        waited += len(anew)
    assert 0 < waited < events, "some waited, some did not"
