"""Goal: a file is taken in once, wholly, in order; the broker's side of every promise of the
ingest that needs no kill. Method: real files, a real broker, a `read_committed` reader."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from connectors.see_files.file_progress import Progress
from connectors.see_files.files_run import FileResult, FilesRun
from connectors.see_files.files_topic import FilesTopicHeldError
from connectors.see_files.ingest import AlreadyIngestedError, FileIngest
from connectors.see_files.limits import IngestLimits
from connectors.see_files.line_reader import LineReader
from connectors.see_files.source_file import FileRefusedError, SourceFile
from schemas.codec import decode
from streams.errors import BrokerUnreachableError, ConfigurationError
from streams.settings import KafkaSettings, LayoutSettings
from streams.topics import TopicNames
from streams.transactions import TransactionalProducer
from tests.integration.see_files.taken_in import taken_in
from tests.records_support import one_batch

pytestmark = pytest.mark.broker

SMALL = IngestLimits(lines_a_transaction=500, held_s_max=5.0)
VECTORS = Path(__file__).parents[2] / "vectors" / "see"
SeeFile = Callable[..., Path]


@pytest.fixture
def run(
    kafka_settings: KafkaSettings, layout_settings: LayoutSettings, reader: LineReader
) -> FilesRun:
    return FilesRun(kafka_settings, layout_settings, reader, by="test", limits=SMALL)


async def test_a_file_is_taken_in_once(
    run: FilesRun,
    kafka_settings: KafkaSettings,
    midgate_topics: TopicNames,
    see_file: SeeFile,
    reader: LineReader,
) -> None:
    path = see_file(3210)
    result = await run.ingest(path)
    assert result.error is None
    assert (result.lines, result.raw + result.quarantined) == (3210, 3210)
    found = await taken_in(kafka_settings, midgate_topics)
    assert found.lines() == list(range(1, 3211))
    assert len(found.quarantine) == result.quarantined > 0
    found.require_file_order()
    found.require_javas_partitions(4)
    lines = path.read_bytes().split(b"\n")
    for record in found.raw:
        line = lines[int(dict(record.headers)["mg-origin"].partition(b":")[2]) - 1]
        assert (record.key, record.value) == reader.read(line)
        assert decode(record.value)[0] == "tracking_event"
    for record in found.quarantine:
        assert record.value == lines[int(dict(record.headers)["mg-origin"].partition(b":")[2]) - 1]
    last = found.files[-1]
    assert (last["state"], last["lines_done"], last["raw"]) == ("DONE", 3210, result.raw)
    assert (last["content_sha256"], last["size"]) == (result.content_sha256, path.stat().st_size)
    assert [record["lines_done"] for record in found.files] == [
        500, 1000, 1500, 2000, 2500, 3000, 3210
    ]  # fmt: skip


async def test_the_same_content_is_refused(
    run: FilesRun, kafka_settings: KafkaSettings, midgate_topics: TopicNames, see_file: SeeFile
) -> None:
    first = await run.ingest(see_file(600))
    again = await run.ingest(see_file(600, name="renamed.txt"))
    other = await run.ingest(see_file(600, seed=2, name="other.txt"))
    assert first.error is None
    assert isinstance(again.error, AlreadyIngestedError)
    assert "the same content was ingested before, by test (600 lines)" in str(again.error)
    assert (again.outcome, again.error.exit_code) == ("refused", 2)
    assert again.error.hint
    assert other.error is None
    assert set((await taken_in(kafka_settings, midgate_topics)).origins().values()) == {1}


async def test_files_as_they_arrive(
    run: FilesRun, kafka_settings: KafkaSettings, midgate_topics: TopicNames
) -> None:
    """Every vector gets the answer it is listed with, and none stops the others."""
    expected: dict[str, dict[str, Any]] = json.loads((VECTORS / "expected.json").read_text())
    # The same bytes under two names: the second is what the first one was.
    expected["packed_without_suffix"] = {"refused": "the same content was ingested before"}
    results = await run.ingest_all([VECTORS / name for name in sorted(expected)])
    for result in results:
        _require_answer(result, expected[result.path.name])
    found = await taken_in(kafka_settings, midgate_topics)
    assert set(found.origins().values()) == {1}
    assert len(found.raw) == sum(each.get("raw", 0) for each in expected.values())
    rows = sorted(
        [of["mg-file"].decode(), int(of["mg-column"]), of["mg-reason"].decode()]
        for of in (dict(record.headers) for record in found.quarantine)
    )
    assert rows == sorted(
        [name, column, reason]
        for name, each in expected.items()
        for _, column, _, reason in each.get("quarantined", ())
    )


def _require_answer(result: FileResult, expected: dict[str, Any]) -> None:
    if "refused" in expected:
        assert result.outcome == "refused", result
        assert expected["refused"] in str(result.error)
        return
    assert result.error is None, result.error
    counts = (result.raw, result.quarantined)
    assert counts == (expected["raw"], len(expected["quarantined"]))


class StopError(Exception):
    """Ends an ingest in the middle, as a crash would."""


async def test_a_second_run_goes_on_after_the_first(
    kafka_settings: KafkaSettings,
    layout_settings: LayoutSettings,
    midgate_topics: TopicNames,
    see_file: SeeFile,
    reader: LineReader,
    run: FilesRun,
) -> None:
    path = see_file(2345)

    def stop(progress: Progress) -> None:
        if progress.lines == 1000:
            raise StopError

    with SourceFile(path) as source:
        first = FileIngest(
            kafka_settings,
            layout_settings,
            source,
            source.check(),
            reader,
            by="first",
            limits=SMALL,
            on_progress=stop,
        )
        with pytest.raises(StopError):
            await first.run()
    result = await run.ingest(path)
    assert (result.resumed_from, result.lines, result.error) == (1000, 2345, None)
    found = await taken_in(kafka_settings, midgate_topics)
    assert found.lines() == list(range(1, 2346))
    found.require_file_order()
    assert result.quarantined == len(found.quarantine)


async def test_a_file_that_changes_is_never_done(
    kafka_settings: KafkaSettings,
    layout_settings: LayoutSettings,
    midgate_topics: TopicNames,
    see_file: SeeFile,
    reader: LineReader,
) -> None:
    path = see_file(2000)

    def append(progress: Progress) -> None:
        if progress.lines == 1000:
            with path.open("ab") as more:
                more.write(b"more\n")

    with SourceFile(path) as source:
        ingest = FileIngest(
            kafka_settings,
            layout_settings,
            source,
            source.check(),
            reader,
            by="test",
            limits=SMALL,
            on_progress=append,
        )
        with pytest.raises(FileRefusedError, match=r"changed .*; 1000 of its lines"):
            await ingest.run()
    found = await taken_in(kafka_settings, midgate_topics)
    assert found.lines() == list(range(1, 1001))
    assert {record["state"] for record in found.files} == {"RUNNING"}


async def test_who_holds_the_files_topic_is_named(
    run: FilesRun,
    kafka_settings: KafkaSettings,
    midgate_topics: TopicNames,
    see_file: SeeFile,
    prefix: str,
) -> None:
    """Another's open transaction hides what stands above it: wait, then say who it is."""
    holder = await TransactionalProducer.open(
        kafka_settings,
        f"{prefix}-holder",
        transaction_timeout_ms=60_000,
        topics=[midgate_topics.files],
    )
    try:
        await holder.begin()
        batch = one_batch(None, key=b"other")
        await (await holder.send_batch(batch, midgate_topics.files, 0))
        result = await run.ingest(see_file(600))
        assert isinstance(result.error, FilesTopicHeldError)
        assert f"producer {holder.producer_id} (epoch {holder.producer_epoch})" in str(result.error)
        assert result.outcome == "failed"
        await holder.commit()
        assert (await run.ingest(see_file(600))).error is None
    finally:
        await holder.close()
    assert (await taken_in(kafka_settings, midgate_topics)).lines() == list(range(1, 601))


async def test_without_topics(run: FilesRun, see_file: SeeFile) -> None:
    path = see_file(10)
    results = await run.ingest_all([path, path])
    assert isinstance(results[0].error, ConfigurationError)
    assert "topics apply" in results[0].error.hint
    assert [result.outcome for result in results] == ["failed", "not_begun"]


async def test_without_a_broker(
    layout_settings: LayoutSettings, reader: LineReader, see_file: SeeFile
) -> None:
    nobody = KafkaSettings(bootstrap="127.0.0.1:1", request_timeout_ms=500)
    run = FilesRun(nobody, layout_settings, reader, by="test")
    result = await run.ingest(see_file(10))
    assert isinstance(result.error, BrokerUnreachableError)
    assert result.error.exit_code == 4
