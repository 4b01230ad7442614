"""The reader shell against a real broker, on the installation that the unit tests build by hand.

Records are written by a plain producer, so nothing but Kafka itself stands between them and the
judge.
"""

import json
import sys
from asyncio import create_subprocess_exec
from asyncio.subprocess import PIPE

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from auditor.contents import Contents
from auditor.findings import FindingKind
from auditor.kafka_records import CollectError
from auditor.report import Report
from auditor.run import audit
from tests.kafka_support import KafkaUnderTest
from tests.unit.auditor.world import APP, RAW, delivered

pytestmark = pytest.mark.broker


async def _audit(kafka: KafkaUnderTest, prefix: str, settle_s: float = 10.0) -> Report:
    return await audit({"bootstrap_servers": kafka.bootstrap}, prefix, APP, settle_s=settle_s)


async def _transactional(kafka: KafkaUnderTest, prefix: str) -> AIOKafkaProducer:
    producer = AIOKafkaProducer(
        bootstrap_servers=kafka.bootstrap,
        acks="all",
        enable_idempotence=True,
        transactional_id=f"{prefix}-test",
    )
    await producer.start()
    return producer


async def test_a_clean_installation_passes(
    kafka: KafkaUnderTest, prefix: str, installation: Contents
) -> None:
    """What was written by hand is read back and found right."""
    report = await _audit(kafka, prefix)
    assert report.ok, report.as_text()
    shown = report.as_json()
    assert shown["tenants"]["acme"] == {"due": 3, "has": 3, "denied": {}}
    assert (shown["raw"], shown["decided"]) == (6, 6)
    assert "ok: every topic holds what it must" in report.as_text()


async def test_only_committed_records_count(
    kafka: KafkaUnderTest, prefix: str, installation: Contents
) -> None:
    """Aborted: as if never written. Open: said. Committed: found."""
    topic = f"{prefix}.tenant.acme"
    double = delivered(0, 9, RAW[0][0], "g-acme", "9205590123456700000017")
    value = (topic, double.value, double.key, 0, double.timestamp, list(double.headers))
    producer = await _transactional(kafka, prefix)
    try:
        await producer.begin_transaction()
        await producer.send_and_wait(*value)
        await producer.abort_transaction()
        assert (await _audit(kafka, prefix)).ok
        await producer.begin_transaction()
        await producer.send_and_wait(*value)
        report = await _audit(kafka, prefix, settle_s=0.2)
        assert dict(report.judgement.findings.counts) == {FindingKind.OPEN_TRANSACTION: 1}
        await producer.commit_transaction()
    finally:
        await producer.stop()
    report = await _audit(kafka, prefix)
    counts = dict(report.judgement.findings.counts)
    assert counts == {FindingKind.DOUBLED: 1, FindingKind.OUT_OF_ORDER: 1}


async def test_retention_is_read_from_the_broker(
    kafka: KafkaUnderTest, prefix: str, installation: Contents
) -> None:
    """A tenant topic whose first record is gone has a beginning above 0."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        place = TopicPartition(f"{prefix}.tenant.acme", 0)
        await admin.delete_records({place: RecordsToDelete(before_offset=1)})
    finally:
        await admin.close()
    report = await _audit(kafka, prefix)
    assert report.ok, report.as_text()
    assert len(report.as_json()["notes"]) == 1


async def test_topics_that_are_absent_are_named(kafka: KafkaUnderTest, prefix: str) -> None:
    """No installation under this prefix."""
    with pytest.raises(CollectError, match=f"{prefix}.authorization"):
        await _audit(kafka, prefix)


async def _run(*arguments: str) -> tuple[int | None, str, str]:
    process = await create_subprocess_exec(
        sys.executable, "-m", "auditor", *arguments, stdout=PIPE, stderr=PIPE
    )
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def test_the_command_says_it_by_its_exit_code(
    kafka: KafkaUnderTest, prefix: str, installation: Contents
) -> None:
    """0 right, 7 wrong, 2 no such topics, 4 no broker."""
    place = ("--bootstrap", kafka.bootstrap, "--prefix", prefix)
    code, out, _ = await _run(*place, "--app-id", APP, "--output", "json")
    assert (code, json.loads(out)["ok"]) == (0, True)
    code, out, _ = await _run(*place, "--app-id", "another")
    assert (code, "NOT ok" in out) == (7, True)
    code, _, err = await _run("--bootstrap", kafka.bootstrap, "--prefix", "nothing")
    assert (code, "no such topic" in err) == (2, True)
    code, _, err = await _run("--bootstrap", "127.0.0.1:1")
    assert (code, "no broker answers" in err) == (4, True)
