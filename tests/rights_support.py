"""Rights for tests and benches: tenants, grants and revocations, appended as the CLI would."""

import uuid
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from streams.authorization_writer import AuthorizationWriter
from streams.changes import (
    grant_body,
    grant_change,
    grant_end_change,
    tenant_change,
    terms_change,
)
from streams.follower import Follower
from streams.rights import Applied
from streams.settings import AuthorizationSettings, KafkaSettings, LayoutSettings
from streams.topics_admin import create_tenant_topic

LONG_AGO_MS = 1_700_000_000_000
CHANNELS = ("API", "WEBHOOK", "SEE")
Made = tuple[bytes, bytes]


class RightsOffice:
    """Writes changes and waits for their verdict; every tenant is a shipper with terms accepted."""

    def __init__(self, kafka: KafkaSettings, layout: LayoutSettings) -> None:
        self.kafka = kafka
        self.layout = layout
        self.follower = Follower(kafka, layout, AuthorizationSettings(), heartbeat=False)
        self.writer = AuthorizationWriter(kafka, layout, self.follower)

    async def add_tenant(self, tenant_id: str, partitions: int = 1) -> str:
        """A tenant with its topic; the topic's name."""
        await create_tenant_topic(self.kafka, self.layout, tenant_id, partitions)
        return await self.tell_tenant(tenant_id, partitions)

    async def tell_tenant(self, tenant_id: str, partitions: int = 1) -> str:
        """Only the log's records of a tenant whose topic is there."""
        topic = self.layout.topics.tenant(tenant_id)
        await self.append_all(self.tenant_records(tenant_id, topic, partitions))
        return topic

    def tenant_records(self, tenant_id: str, topic: str, partitions: int) -> list[Made]:
        """A shipper that has accepted the terms."""
        first, second = uuid.uuid4().bytes, uuid.uuid4().bytes
        tenant = tenant_change(
            tenant_id,
            name=tenant_id,
            party_type="SHIPPER",
            topic=topic,
            partitions=partitions,
            base=-1,
            actor="test",
            reason="test",
            change_id=first,
        )
        terms = terms_change(
            tenant_id, "2026", True, base=-1, actor="test", reason="test", change_id=second
        )
        return [(tenant, first), (terms, second)]

    def grant_record(
        self, tenant_id: str, mid: str, grant_id: str, channels: Iterable[str] = CHANNELS
    ) -> Made:
        """A grant by ownership, without end."""
        change_id = uuid.uuid4().bytes
        body = grant_body(
            grant_id,
            tenant_id=tenant_id,
            basis="OWNER",
            channels=list(channels),
            effective_from=LONG_AGO_MS,
            mid=mid,
        )
        stamp = {"base": -1, "actor": "test", "reason": "test", "change_id": change_id}
        return grant_change(body, **stamp), change_id

    async def grant(self, tenant_id: str, mid: str, grant_id: str) -> Applied:
        """Give a tenant the events of a MID."""
        return await self.append_all([self.grant_record(tenant_id, mid, grant_id)])

    async def revoke(self, grant_id: str) -> Applied:
        """End a grant; the verdict has the revocation's offset."""
        change_id = uuid.uuid4().bytes
        made = grant_end_change(grant_id, actor="test", reason="test", change_id=change_id)
        return await self.append_all([(made, change_id)])

    async def append_all(self, changes: list[Made]) -> Applied:
        """Append in order; the last one's verdict."""
        return await self.writer.append_many(changes, timeout_s=60)


@asynccontextmanager
async def rights_office(
    kafka: KafkaSettings, layout: LayoutSettings
) -> AsyncIterator[RightsOffice]:
    """An office that is closed with the block."""
    office = RightsOffice(kafka, layout)
    await office.follower.start()
    try:
        await office.writer.start()
        yield office
    finally:
        await office.writer.stop()
        await office.follower.stop()
