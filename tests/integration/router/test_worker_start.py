"""What a worker refuses to start on, and what it says then."""

import asyncio
from pathlib import Path

import pytest

from streams.settings import KafkaSettings, LayoutSettings
from streams.topics import system_topics
from streams.topics_admin import ensure_topics
from streams.topics_client import TopicsAdmin
from tests.worker_process import FAUST, MIDGATE, WorkerProcess, running_worker

pytestmark = [pytest.mark.broker, pytest.mark.timeout(60)]


async def ended(worker: WorkerProcess) -> int:
    return await asyncio.to_thread(worker.process.wait, 30)


async def test_missing_topics_are_named(
    tmp_path: Path, kafka_settings: KafkaSettings, layout_settings: LayoutSettings
) -> None:
    """Faust would wait for them for ever."""
    with running_worker(tmp_path, kafka_settings, layout_settings, command=MIDGATE) as worker:
        assert await ended(worker) == 3
        assert f"{layout_settings.prefix}.quarantine" in worker.tail()
        assert "midgate topics apply" in worker.tail()


async def test_faust_s_own_command_refuses_them_as_well(
    tmp_path: Path, kafka_settings: KafkaSettings, layout_settings: LayoutSettings
) -> None:
    with running_worker(tmp_path, kafka_settings, layout_settings, command=FAUST) as worker:
        assert await ended(worker) != 0
        refused = worker.lines("worker_refused")
        assert f"{layout_settings.prefix}.raw" in refused[0]["problem"]
        assert "midgate topics apply" in refused[0]["hint"]


async def test_an_empty_log_is_refused(
    tmp_path: Path, kafka_settings: KafkaSettings, layout_settings: LayoutSettings
) -> None:
    """Topics without a log id and a layout: everything decided would be a guess."""
    specs = system_topics(layout_settings.topics, layout_settings.partitions)
    admin = TopicsAdmin(kafka_settings)
    await asyncio.to_thread(ensure_topics, admin, specs, dry_run=False)
    with running_worker(tmp_path, kafka_settings, layout_settings, command=MIDGATE) as worker:
        assert await ended(worker) == 1
        assert "is empty" in worker.tail()
        assert "midgate topics apply" in worker.tail()


async def test_nobody_at_the_address(tmp_path: Path, layout_settings: LayoutSettings) -> None:
    nobody = KafkaSettings(bootstrap="127.0.0.1:1")
    with running_worker(tmp_path, nobody, layout_settings, command=MIDGATE) as worker:
        assert await ended(worker) == 4
        assert "no broker answers at 127.0.0.1:1" in worker.tail()
