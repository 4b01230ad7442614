"""The network between a follower and the broker fails, in every way a network can.

The lease runs out, `problem` says so, and following goes on by itself when the network is back,
with what was revoked meanwhile. A follower without a lease would claim to be current all along.
"""

import asyncio

import pytest

from streams.settings import KafkaSettings, LayoutSettings
from streams.topics_admin import apply_topics
from tests.kafka_support import BrokerFactory
from tests.log_support import (
    LEASE_S,
    WAIT_S_MAX,
    append,
    following,
    grant,
    revocation,
    tenant,
    until,
)
from tests.tcp_proxy import TcpProxy

pytestmark = [pytest.mark.broker, pytest.mark.fault]

FOR_EVER_S = 1e6


async def test_it_stops_deciding_within_the_lease_and_recovers(
    broker_factory: BrokerFactory, layout_settings: LayoutSettings
) -> None:
    """One broker for both ways of being cut off: refused, and half-open (nobody is told)."""
    async with await TcpProxy.start() as proxy:
        broker = await asyncio.to_thread(broker_factory, proxy.listener())
        direct = KafkaSettings(bootstrap=broker.bootstrap)
        proxied = KafkaSettings(bootstrap=proxy.address)
        await apply_topics(direct, layout_settings)
        await append(direct, layout_settings, tenant(layout_settings))
        async with following(proxied, layout_settings) as follower:
            for fault in (proxy.refuse, proxy.stall):
                name = f"grant-{fault.__name__}"
                offset = await append(direct, layout_settings, grant(name))
                await follower.wait_for_version(offset + 1, WAIT_S_MAX)
                assert follower.problem is None
                snapshot = follower.snapshot()
                fault()
                revoked = await append(direct, layout_settings, revocation(name))
                await until(lambda: follower.problem is not None, "the lease has run out")
                assert follower.lease_age_s() > LEASE_S
                assert "not confirmed for" in (follower.problem or "")
                assert follower.version <= revoked
                # What was handed out before carries its own confirmation, which is as old.
                assert snapshot.confirmed_at <= follower.confirmed_at
                proxy.heal()
                await follower.wait_ready(WAIT_S_MAX)
                assert follower.version > revoked


async def test_without_the_guard_it_claims_to_be_current(
    broker_factory: BrokerFactory, layout_settings: LayoutSettings
) -> None:
    """A lease that never runs out is no lease: the revocation is not seen, nothing is said."""
    async with await TcpProxy.start() as proxy:
        broker = await asyncio.to_thread(broker_factory, proxy.listener())
        direct = KafkaSettings(bootstrap=broker.bootstrap)
        await apply_topics(direct, layout_settings)
        await append(direct, layout_settings, tenant(layout_settings), grant("g1"))
        proxied = KafkaSettings(bootstrap=proxy.address)
        async with following(proxied, layout_settings, lease_s=FOR_EVER_S) as follower:
            proxy.refuse()
            revoked = await append(direct, layout_settings, revocation("g1"))
            await until(lambda: follower.lease_age_s() > LEASE_S, "a lease would be over")
            assert follower.problem is None
            assert follower.version <= revoked
