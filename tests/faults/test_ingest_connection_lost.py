"""Fault: the ingest loses its connection around a commit, at every point where the outcome differs.

Goal: it starts over by itself and each line stands exactly once. The request is lost before the
broker has it (nothing committed), or its answer is lost (committed, but nobody knows); both happen
to EndTxn and to Produce, several times in one file.

With progress taken from memory instead of the topic, a commit whose answer was lost is repeated.
"""

import random
from datetime import date
from itertools import product
from pathlib import Path

import pytest

from connectors.see_files.facility_time import FacilityClock
from connectors.see_files.files_topic import FilesTopic
from connectors.see_files.generator import Plan, generate
from connectors.see_files.ingest import FileIngest, IngestReport
from connectors.see_files.limits import IngestLimits
from connectors.see_files.line_reader import LineReader
from connectors.see_files.source_file import SourceFile
from streams.settings import KafkaSettings, LayoutSettings
from streams.topics import TopicNames
from tests.integration.see_files.taken_in import taken_in
from tests.tcp_proxy import END_TXN, PRODUCE, Fault, Rule
from tests.transaction_support import proxied

pytestmark = [pytest.mark.broker, pytest.mark.fault]

LINES = 3_000
LIMITS = IngestLimits(lines_a_transaction=100, transaction_timeout_ms=5_000, pause_s_max=0.5)
# Every so many requests of a kind one is lost: between two losses some transactions succeed.
LOST_EVERY = {END_TXN: 7, PRODUCE: 17}


class ForgetfulIngest(FileIngest):
    """Believes what it remembers: a start over goes on after the last commit it knows of."""

    def _is_finished(self, files: FilesTopic) -> bool:
        return False


def rule_of(losses: list[tuple[int, Fault]]) -> Rule:
    """Lose requests, by turns before the broker has one and after."""
    seen = dict.fromkeys(LOST_EVERY, 0)

    def rule(api_key: int, _frame: bytes) -> Fault:
        if api_key not in seen:
            return Fault.PASS
        seen[api_key] += 1
        turn, rest = divmod(seen[api_key], LOST_EVERY[api_key])
        if rest:
            return Fault.PASS
        fault = (Fault.CUT, Fault.CUT_ANSWER)[turn % 2]
        losses.append((api_key, fault))
        return fault

    return rule


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "see.txt"
    portions = generate(Plan(date(2026, 7, 1), 20, lines=LINES), random.Random(6))
    path.write_bytes(b"".join(line + b"\n" for portion in portions for line in portion))
    return path


async def ingest(
    kind: type[FileIngest], path: Path, kafka: KafkaSettings, layout: LayoutSettings
) -> IngestReport:
    with SourceFile(path) as source:
        facts = source.check()
        reader = LineReader(FacilityClock({}))
        return await kind(kafka, layout, source, facts, reader, by="test", limits=LIMITS).run()


async def test_it_starts_over_and_each_line_stands_once(
    path: Path,
    kafka_settings: KafkaSettings,
    layout_settings: LayoutSettings,
    midgate_topics: TopicNames,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    losses: list[tuple[int, Fault]] = []
    async with proxied(kafka_settings, monkeypatch) as proxy:
        proxy.rule = rule_of(losses)
        report = await ingest(FileIngest, path, kafka_settings, layout_settings)
    assert set(losses) == set(product(LOST_EVERY, (Fault.CUT, Fault.CUT_ANSWER)))
    assert report.starts > len(LOST_EVERY) * 2
    assert report.progress.lines == LINES
    found = await taken_in(kafka_settings, midgate_topics)
    assert found.lines() == list(range(1, LINES + 1))
    found.require_file_order()


async def test_without_reading_the_topic_lines_stand_twice(
    path: Path,
    kafka_settings: KafkaSettings,
    layout_settings: LayoutSettings,
    midgate_topics: TopicNames,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The guard off."""
    async with proxied(kafka_settings, monkeypatch) as proxy:
        proxy.rule = rule_of([])
        await ingest(ForgetfulIngest, path, kafka_settings, layout_settings)
    lines = (await taken_in(kafka_settings, midgate_topics)).lines()
    assert len(lines) > LINES
