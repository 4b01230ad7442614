"""Fault: an old leader names an old end of the files topic, so a start reads no progress.

Goal: the start still knows all progress before its claim. Without reading up to the claim it
begins at line 1 and takes lines in twice.
"""

import random
from datetime import date
from pathlib import Path

import pytest

from connectors.see_files.facility_time import FacilityClock
from connectors.see_files.file_progress import Progress
from connectors.see_files.files_topic import FilesTopic
from connectors.see_files.generator import Plan, generate
from connectors.see_files.ingest import FileIngest
from connectors.see_files.limits import IngestLimits
from connectors.see_files.line_reader import LineReader
from connectors.see_files.source_file import SourceFile
from streams.settings import KafkaSettings, LayoutSettings
from streams.topics import TopicNames
from tests.integration.see_files.taken_in import taken_in

pytestmark = [pytest.mark.broker, pytest.mark.fault]

LINES = 2_000
LIMITS = IngestLimits(lines_a_transaction=250)


class StopError(Exception):
    """Ends an ingest in the middle, as a crash would."""


def stop(progress: Progress) -> None:
    if progress.lines >= LINES / 2:
        raise StopError


@pytest.mark.parametrize("is_guarded", [True, False])
async def test_an_old_end(
    is_guarded: bool,
    kafka_settings: KafkaSettings,
    layout_settings: LayoutSettings,
    midgate_topics: TopicNames,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "see.txt"
    portions = generate(Plan(date(2026, 7, 1), 20, lines=LINES), random.Random(8))
    path.write_bytes(b"".join(line + b"\n" for portion in portions for line in portion))
    reader = LineReader(FacilityClock({}))

    async def old_end(_: FilesTopic) -> int:
        return 0

    async def unread(_: FilesTopic, nonce: bytes) -> None:
        return

    with SourceFile(path) as source:
        facts = source.check()
        first = FileIngest(
            kafka_settings, layout_settings, source, facts, reader,
            by="first", limits=LIMITS, on_progress=stop,
        )  # fmt: skip
        with pytest.raises(StopError):
            await first.run()
        monkeypatch.setattr(FilesTopic, "high_watermark", old_end)
        if not is_guarded:
            monkeypatch.setattr(FilesTopic, "read_until_nonce", unread)
        second = FileIngest(
            kafka_settings, layout_settings, source, facts, reader, by="second", limits=LIMITS
        )
        await second.run()
    lines = (await taken_in(kafka_settings, midgate_topics)).lines()
    assert (lines == list(range(1, LINES + 1))) is is_guarded
    assert is_guarded or len(lines) == LINES + LINES / 2
