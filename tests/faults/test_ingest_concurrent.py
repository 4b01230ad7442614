"""Fault: two ingests of the same content at once.

Goal: each line exactly once, whoever wins; the other one ends and says so. With transactional ids
that do not come from the content, the one that was overtaken takes its lines in again.
"""

import asyncio
import random
from datetime import date
from pathlib import Path

import pytest

from connectors.see_files.batches import Batch, Portion
from connectors.see_files.facility_time import FacilityClock
from connectors.see_files.generator import Plan, generate
from connectors.see_files.ingest import (
    AlreadyIngestedError,
    FileIngest,
    IngestDeposedError,
    IngestReport,
)
from connectors.see_files.limits import IngestLimits
from connectors.see_files.line_reader import LineReader
from connectors.see_files.source_file import SourceFile
from streams.settings import KafkaSettings, LayoutSettings
from streams.topics import TopicNames
from streams.transactions import TransactionalProducer
from tests.faults.ingest_process import UnfencedIngest
from tests.integration.see_files.taken_in import taken_in

pytestmark = [pytest.mark.broker, pytest.mark.fault]

LINES = 4_000
LIMITS = IngestLimits(lines_a_transaction=100)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "see.txt"
    portions = generate(Plan(date(2026, 7, 1), 20, lines=LINES), random.Random(4))
    path.write_bytes(b"".join(line + b"\n" for portion in portions for line in portion))
    return path


async def ingest(
    kind: type[FileIngest],
    path: Path,
    kafka: KafkaSettings,
    layout: LayoutSettings,
    by: str,
    delay_s: float,
) -> IngestReport:
    await asyncio.sleep(delay_s)
    with SourceFile(path) as source:
        reader = LineReader(FacilityClock({}))
        facts = source.check()
        one = kind(kafka, layout, source, facts, reader, by=by, limits=LIMITS)
        return await one.run()


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_one_goes_on_and_each_line_stands_once(
    seed: int,
    path: Path,
    kafka_settings: KafkaSettings,
    layout_settings: LayoutSettings,
    midgate_topics: TopicNames,
) -> None:
    dice = random.Random(seed)
    outcomes = await asyncio.gather(
        *(
            ingest(FileIngest, path, kafka_settings, layout_settings, by, dice.random() * 0.5)
            for by in ("one", "two", "three")
        ),
        return_exceptions=True,
    )
    finished = [outcome for outcome in outcomes if isinstance(outcome, IngestReport)]
    ended = [outcome for outcome in outcomes if not isinstance(outcome, IngestReport)]
    assert len(finished) == 1, outcomes
    for error in ended:
        assert isinstance(error, IngestDeposedError | AlreadyIngestedError), error
        assert error.hint
    found = await taken_in(kafka_settings, midgate_topics)
    assert found.lines() == list(range(1, LINES + 1)), f"seed {seed}"
    found.require_file_order()


class Overtaken(UnfencedIngest):
    """Stops before a commit until another run has made progress."""

    stands = asyncio.Event()
    goes_on = asyncio.Event()

    async def _commit(
        self, producer: TransactionalProducer, portion: Portion, batch: Batch
    ) -> None:
        if portion.first_line > LINES / 2:
            self.stands.set()
            await self.goes_on.wait()
        await super()._commit(producer, portion, batch)


class Overtaking(UnfencedIngest):
    """Lets the other one go on after its first commit."""

    async def _commit(
        self, producer: TransactionalProducer, portion: Portion, batch: Batch
    ) -> None:
        await super()._commit(producer, portion, batch)
        Overtaken.goes_on.set()


async def test_without_the_fence_lines_stand_twice(
    path: Path,
    kafka_settings: KafkaSettings,
    layout_settings: LayoutSettings,
    midgate_topics: TopicNames,
) -> None:
    """The guard off: the one that was overtaken is never refused, and goes on where it stood."""
    async with asyncio.timeout(60):
        first = asyncio.create_task(
            ingest(Overtaken, path, kafka_settings, layout_settings, "one", 0.0)
        )
        await Overtaken.stands.wait()
        await ingest(Overtaking, path, kafka_settings, layout_settings, "two", 0.0)
        await first
    lines = (await taken_in(kafka_settings, midgate_topics)).lines()
    assert set(lines) == set(range(1, LINES + 1))
    assert len(lines) >= LINES * 1.4


async def test_with_the_fence_the_overtaken_run_is_refused(
    path: Path,
    kafka_settings: KafkaSettings,
    layout_settings: LayoutSettings,
    midgate_topics: TopicNames,
) -> None:
    """The same order of events with the guard on."""
    stands, goes_on = asyncio.Event(), asyncio.Event()

    class Frozen(FileIngest):
        async def _commit(
            self, producer: TransactionalProducer, portion: Portion, batch: Batch
        ) -> None:
            if portion.first_line > LINES / 2 and not goes_on.is_set():
                stands.set()
                await goes_on.wait()
            await super()._commit(producer, portion, batch)

    async with asyncio.timeout(60):
        first = asyncio.create_task(
            ingest(Frozen, path, kafka_settings, layout_settings, "one", 0.0)
        )
        await stands.wait()
        await ingest(FileIngest, path, kafka_settings, layout_settings, "two", 0.0)
        goes_on.set()
        with pytest.raises(IngestDeposedError, match="two has taken this file over after line"):
            await first
    assert (await taken_in(kafka_settings, midgate_topics)).lines() == list(range(1, LINES + 1))
