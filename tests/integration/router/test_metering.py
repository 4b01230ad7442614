"""From raw to units: what a worker delivers under an agreement is metered, and killing it changes
nothing of the figures."""

import time
import uuid
from pathlib import Path

import pytest

from schemas.reasons import UnitBilling
from streams.changes import agreement_change, grant_body, grant_change, tenant_change
from streams.settings import KafkaSettings, LayoutSettings
from streams.topics import TopicNames
from streams.topics_admin import create_tenant_topic
from tests.metering_support import APRIL_MS, made
from tests.rights_support import CHANNELS, rights_office
from tests.router_support import backlog, barcode, event, offer
from tests.transaction_support import eventually
from tests.worker_process import running_worker

pytestmark = [pytest.mark.broker, pytest.mark.timeout(180)]

MID = "901234567"
NUMBERS, SCANS = 800, 4


async def test_each_number_delivered_under_an_agreement_is_one_unit(
    tmp_path: Path,
    kafka_settings: KafkaSettings,
    layout_settings: LayoutSettings,
    midgate_topics: TopicNames,
) -> None:
    kafka, layout = kafka_settings, layout_settings
    stamp = {"base": -1, "actor": "test", "reason": "test"}
    async with rights_office(kafka, layout) as office:
        await office.add_tenant("owner")
        await office.grant("owner", MID, "g-owner")
        await create_tenant_topic(kafka, layout, "analyst", 1)
        ids = [uuid.uuid4().bytes for _ in range(3)]
        tenant = tenant_change(
            "analyst",
            name="analyst",
            party_type="TRACKING_ANALYTICS_VENDOR",
            topic=midgate_topics.tenant("analyst"),
            partitions=1,
            change_id=ids[0],
            **stamp,
        )
        agreement = agreement_change(
            "agr-1",
            tenant_id="analyst",
            fee_model="TRANSACTION",
            effective_from=APRIL_MS,
            change_id=ids[1],
            **stamp,
        )
        body = grant_body(
            "g-analyst",
            tenant_id="analyst",
            basis="IP_AGREEMENT",
            channels=list(CHANNELS),
            effective_from=APRIL_MS,
            mid=MID,
            agreement_id="agr-1",
        )
        grant = grant_change(body, change_id=ids[2], **stamp)
        await office.append_all(list(zip([tenant, agreement, grant], ids, strict=True)))
    assert time.time() * 1000 > APRIL_MS, "decided after metering began"
    numbers = [barcode(MID, n) for n in range(NUMBERS)]
    await offer(kafka, midgate_topics.raw, [event(n) for _ in range(SCANS) for n in numbers])
    settings = {"batch_records_max": 100, "session_timeout_ms": 6000}

    async def far_enough() -> bool:
        return await backlog(kafka, layout) < NUMBERS * SCANS // 2

    async def metered() -> bool:
        found = await made(kafka, midgate_topics.usage)
        counted = len(found.units) + found.tallied(UnitBilling.NOT_FIRST_EVENT)
        return counted == NUMBERS * SCANS

    with running_worker(tmp_path / "killed", kafka, layout, **settings) as worker:
        await eventually(far_enough, "half of the events are routed")
        worker.kill()
    with running_worker(tmp_path / "last", kafka, layout, **settings):
        await eventually(metered, "every copy is metered")
    found = await made(kafka, midgate_topics.usage)
    assert sorted(u.tracking_number for u in found.units.values()) == sorted(numbers)
    assert {(u.billing, u.tenant_id) for u in found.units.values()} == {
        (UnitBilling.BILLABLE, "analyst")
    }
    assert found.written == NUMBERS
    assert found.tallied(UnitBilling.NO_COST_PARTY, "") == NUMBERS * SCANS
