"""The demonstration as a newcomer runs it: it passes, it fails when a topic holds what it must
not, and it leaves nothing behind when it is told to stop.

Each runs the command as a process of its own, with its own broker unless said otherwise.
"""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from tests.kafka_support import KafkaUnderTest

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(400)]
STEP_S_MAX = 120.0


async def _start(folder: Path, *arguments: str) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "midgate.cli", "demo", *arguments,
        env={**os.environ, "TMPDIR": str(folder)}, stdout=PIPE, stderr=PIPE,
    )  # fmt: skip


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(STEP_S_MAX):
        while not condition():
            await asyncio.sleep(0.1)


async def test_it_ends_equal(kafka: KafkaUnderTest, tmp_path: Path) -> None:
    """All three tenants have what they must, and the platform nothing after the revocation.

    `kafka` only makes sure that a broker can be started here at all.
    """
    process = await _start(tmp_path, "--output", "json")
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    shown = json.loads(out)
    assert shown["ok"] is True
    assert shown["raw"] + sum(shown["quarantined_before_raw"].values()) == 70_000
    tenants = shown["tenants"]
    assert all(counts["due"] == counts["has"] for counts in tenants.values())
    assert tenants["harbor-goods"]["has"] > tenants["parcel-desk"]["has"] > 0
    assert tenants["scan-insight"]["has"] == 0
    assert tenants["scan-insight"]["denied"]["agreement_expired"] > 0
    assert shown["revocation"]["platform_events_before"] > 0
    assert shown["revocation"]["platform_events_after"] == 0
    assert shown["revocation"]["shipper_events_after"] > 0
    assert os.listdir(tmp_path) == []


async def test_it_fails_when_a_topic_holds_what_it_must_not(
    kafka: KafkaUnderTest, tmp_path: Path
) -> None:
    """A record slipped into a tenant topic behind the router's back: exit 7, and its place."""
    process = await _start(tmp_path, "--output", "json", "--bootstrap", kafka.bootstrap)
    finished = asyncio.create_task(process.communicate())
    topic = await _topic_of_the_analyst(kafka, finished)
    producer = AIOKafkaProducer(
        bootstrap_servers=kafka.bootstrap, acks="all", enable_idempotence=True
    )
    await producer.start()
    await producer.send_and_wait(topic, b"astray", b"key", 0)
    await producer.stop()
    out, err = await finished
    assert process.returncode == 7, err.decode()
    shown = json.loads(out)
    assert shown["ok"] is False
    assert shown["findings_by_kind"] == {"wrong_headers": 1}
    assert shown["findings"][0]["topic"] == topic
    (kept,) = os.listdir(tmp_path)
    assert kept in err.decode()


async def _topic_of_the_analyst(kafka: KafkaUnderTest, finished: "asyncio.Task[object]") -> str:
    """The topic, as soon as the demonstration has made it."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        before = set(await admin.list_topics())
        async with asyncio.timeout(STEP_S_MAX):
            while not finished.done():
                for name in set(await admin.list_topics()) - before:
                    if name.startswith("demo-") and name.endswith(".tenant.scan-insight"):
                        return str(name)
                await asyncio.sleep(0.1)
    finally:
        await admin.close()
    raise AssertionError("the demonstration ended without making the topic")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_it_leaves_nothing_behind(
    kafka: KafkaUnderTest, tmp_path: Path, number: signal.Signals
) -> None:
    """Told to stop while broker and worker run: no process, no folder."""
    process = await _start(tmp_path)
    finished = asyncio.create_task(process.communicate())
    await _until(lambda: finished.done() or any(tmp_path.glob("midgate-demo-*/worker.log")))
    process.send_signal(number)
    _, err = await finished
    assert process.returncode == 130, err.decode()
    assert os.listdir(tmp_path) == []
    assert _processes_that_name(str(tmp_path)) == []


def _processes_that_name(text: str) -> list[str]:
    """Command lines and environments of living processes that hold the text, ours apart."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        if folder.name == str(os.getpid()):
            continue
        for name in ("cmdline", "environ"):
            try:
                content = (folder / name).read_bytes().decode("utf-8", "replace")
            except OSError:
                continue  # ended meanwhile, or not ours to read
            if text in content:
                found.append(f"{folder.name}: {content[:200]}")
    return found
