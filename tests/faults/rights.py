"""Tenants and grants for a fault test, through the same writer as everybody's."""

import uuid
from collections.abc import Mapping, Sequence

from streams.authorization_writer import AuthorizationWriter
from streams.changes import grant_body, grant_change, tenant_change, terms_change
from streams.follower import Follower
from streams.settings import AuthorizationSettings, KafkaSettings, LayoutSettings
from streams.topics_admin import create_tenant_topic

STAMP = {"actor": "test", "reason": "test"}
APRIL_2026_MS = 1_775_001_600_000


async def grant_rights(
    kafka: KafkaSettings, layout: LayoutSettings, mids: Mapping[str, Sequence[str]]
) -> None:
    """Make each tenant a shipper that owns its MIDs, for every channel."""
    follower = Follower(kafka, layout, AuthorizationSettings(), heartbeat=False)
    writer = AuthorizationWriter(kafka, layout, follower)
    await follower.start()
    try:
        await writer.start()
        for tenant, owned in mids.items():
            await create_tenant_topic(kafka, layout, tenant, 1)
            await _append(
                writer,
                tenant_change,
                tenant,
                name=tenant,
                party_type="SHIPPER",
                topic=layout.topics.tenant(tenant),
                partitions=1,
                base=-1,
            )
            await _append(writer, terms_change, tenant, "2026-04", True, base=-1)
            for mid in owned:
                body = grant_body(
                    f"{tenant}-{mid}",
                    tenant_id=tenant,
                    basis="OWNER",
                    channels=["API", "WEBHOOK", "SEE"],
                    effective_from=APRIL_2026_MS,
                    mid=mid,
                )
                await _append(writer, grant_change, body, base=-1)
    finally:
        await writer.stop()
        await follower.stop()


async def _append(writer: AuthorizationWriter, build, *what, **stamp) -> None:
    change_id = uuid.uuid4().bytes
    await writer.append(build(*what, change_id=change_id, **STAMP, **stamp), change_id)
