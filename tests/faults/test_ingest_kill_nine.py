"""Fault: `kill -9` of the ingest at a seeded moment, three times over one file.

Goal: after the last run each line stands exactly once in raw or quarantine, in the file's order
for each package. With progress in a transaction of its own, the same kills take lines in twice.
"""

import asyncio
import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from streams.settings import KafkaSettings, LayoutSettings
from streams.topics import TopicNames
from tests.faults.ingest_process import GUARDED, LINES_A_TRANSACTION, RECORDS_WRITTEN, SPLIT
from tests.faults.processes import ROOT
from tests.integration.see_files.taken_in import taken_in

pytestmark = [pytest.mark.broker, pytest.mark.fault]

LINES = 20_000
KILLS = 3
PROCESS_S_MAX = 60.0
KillIf = Callable[[str], float | None]


class Ingests:
    """Runs of the ingest over one file."""

    def __init__(self, kafka: KafkaSettings, layout: LayoutSettings, file: Path) -> None:
        self._arguments = (kafka.bootstrap, layout.prefix, str(file))

    async def run(self, guard: str, kill_after: KillIf = lambda _: None) -> int:
        """One run; `kill_after` gets each line it says and answers in how many seconds to kill."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.faults.ingest_process",
            *self._arguments,
            guard,
            stdout=asyncio.subprocess.PIPE,
            cwd=ROOT,
        )
        assert process.stdout is not None
        try:
            async with asyncio.timeout(PROCESS_S_MAX):
                async for said in process.stdout:
                    delay_s = kill_after(said.decode().strip())
                    if delay_s is not None:
                        await asyncio.sleep(delay_s)
                        process.kill()
                        break
                return await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


@pytest.fixture
def ingests(
    kafka_settings: KafkaSettings,
    layout_settings: LayoutSettings,
    midgate_topics: TopicNames,
    tmp_path: Path,
) -> Ingests:
    from datetime import date

    from connectors.see_files.generator import Plan, generate

    path = tmp_path / "see.txt"
    portions = generate(Plan(date(2026, 7, 1), 20, lines=LINES), random.Random(3))
    path.write_bytes(b"".join(line + b"\n" for portion in portions for line in portion))
    return Ingests(kafka_settings, layout_settings, path)


@pytest.mark.parametrize("seed", [1, 2])
async def test_each_line_once(
    seed: int, ingests: Ingests, kafka_settings: KafkaSettings, midgate_topics: TopicNames
) -> None:
    dice = random.Random(seed)
    reached = 0
    for _ in range(KILLS):
        # Some transactions after where the last run was killed, and then any moment in one.
        target = reached + dice.randrange(2, 12) * LINES_A_TRANSACTION

        def kill_after(said: str, target: int = target) -> float | None:
            nonlocal reached
            reached = int(said)
            return dice.random() * 0.05 if reached >= target else None

        assert await ingests.run(GUARDED, kill_after) == -signal.SIGKILL, f"seed {seed}"
    assert await ingests.run(GUARDED) == 0
    found = await taken_in(kafka_settings, midgate_topics)
    assert found.lines() == list(range(1, LINES + 1)), f"seed {seed}"
    found.require_file_order()
    assert len({record["run"] for record in found.files}) == KILLS + 1
    last = found.files[-1]
    counts = (last["state"], last["lines_done"], last["raw"], last["quarantined"])
    assert counts == ("DONE", LINES, len(found.raw), len(found.quarantine))


async def test_progress_beside_the_records_takes_lines_in_twice(
    ingests: Ingests, kafka_settings: KafkaSettings, midgate_topics: TopicNames
) -> None:
    """The guard off: the kill falls between the two transactions."""
    status = await ingests.run(SPLIT, lambda said: 0.0 if said == RECORDS_WRITTEN else None)
    assert status == -signal.SIGKILL
    assert await ingests.run(GUARDED) == 0
    lines = (await taken_in(kafka_settings, midgate_topics)).lines()
    assert set(lines) == set(range(1, LINES + 1))
    assert len(lines) >= LINES + LINES_A_TRANSACTION
