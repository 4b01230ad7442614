"""Who takes part in the demonstration, and on what their rights rest."""

from __future__ import annotations

import time
from dataclasses import dataclass

from midgate.rights_session import Session
from streams.changes import (
    agreement_change,
    grant_body,
    grant_change,
    grant_end_change,
    tenant_change,
    terms_change,
)
from streams.topics_admin import create_tenant_topic

SHIPPER, PLATFORM, ANALYST = "harbor-goods", "parcel-desk", "scan-insight"
# Two MIDs of the shipper's, one of nine digits and one of six; the first is what the platform is
# authorized for and what the analytics company once had an agreement for.
SHARED_MID, OWN_MID = "901234567", "123456"
PLATFORM_GRANT = "parcel-desk-authorization"
ANALYST_AGREEMENT = "IP-2026-07"
APRIL_2026_MS = 1_775_001_600_000
DAY_MS = 86_400_000
STAMP = {"actor": "demo"}

WHO = {
    SHIPPER: "a shipper that owns MID 901234567 and MID 123456",
    PLATFORM: "a platform the shipper authorized for MID 901234567, Scan Event Extract only",
    ANALYST: "an analytics company whose IP agreement for MID 901234567 ended yesterday",
}


@dataclass(frozen=True, slots=True)
class Party:
    """A tenant of the demonstration."""

    tenant: str
    party_type: str


PARTIES = (
    Party(SHIPPER, "SHIPPER"),
    Party(PLATFORM, "PLATFORM"),
    Party(ANALYST, "TRACKING_ANALYTICS_VENDOR"),
)


async def establish(session: Session) -> None:
    """Tenants, terms, an agreement that has expired, and the grants."""
    effective = session.settings
    for party in PARTIES:
        await create_tenant_topic(effective.kafka, effective.layout, party.tenant, 1)
        await session.append(
            tenant_change,
            party.tenant,
            name=WHO[party.tenant],
            party_type=party.party_type,
            topic=effective.layout.topics.tenant(party.tenant),
            partitions=1,
            base=-1,
            reason="demonstration",
            **STAMP,
        )
    await session.append(
        terms_change, SHIPPER, "2026-04", True, base=-1, reason="accepted", **STAMP
    )
    await session.append(
        agreement_change,
        ANALYST_AGREEMENT,
        tenant_id=ANALYST,
        fee_model="TRANSACTION",
        effective_from=APRIL_2026_MS,
        effective_to=int(time.time() * 1000) - DAY_MS,
        mids=[SHARED_MID],
        base=-1,
        reason="signed for half a year",
        **STAMP,
    )
    for body in grants():
        await session.append(grant_change, body, base=-1, reason="demonstration", **STAMP)


def grants() -> list[dict[str, object]]:
    """Bodies of the grants."""
    every = ["API", "WEBHOOK", "SEE"]
    return [
        *(
            grant_body(
                f"{SHIPPER}-{mid}",
                tenant_id=SHIPPER,
                basis="OWNER",
                channels=every,
                mid=mid,
                effective_from=APRIL_2026_MS,
            )
            for mid in (SHARED_MID, OWN_MID)
        ),
        grant_body(
            PLATFORM_GRANT,
            tenant_id=PLATFORM,
            basis="MID_AUTHORIZATION",
            channels=["SEE"],
            mid=SHARED_MID,
            effective_from=APRIL_2026_MS,
        ),
        grant_body(
            f"{ANALYST}-{SHARED_MID}",
            tenant_id=ANALYST,
            basis="IP_AGREEMENT",
            channels=every,
            mid=SHARED_MID,
            agreement_id=ANALYST_AGREEMENT,
            effective_from=APRIL_2026_MS,
        ),
    ]


async def revoke_platform(session: Session) -> int:
    """End the platform's grant; the version from which it does not count any more."""
    applied = await session.append(
        grant_end_change, PLATFORM_GRANT, reason="the shipper withdrew it", **STAMP
    )
    return applied.offset + 1
