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
    """Cut off twice: refused, and half-open (nobody is told).

    A second follower, whose lease never runs out, shows the anomaly: it claims to be current,
    with a grant in force that has been revoked.
    """
    async with await TcpProxy.start() as proxy:
        broker = await asyncio.to_thread(broker_factory, proxy.listener())
        direct = KafkaSettings(bootstrap=broker.bootstrap)
        proxied = KafkaSettings(bootstrap=proxy.address)
        await apply_topics(direct, layout_settings)
        await append(direct, layout_settings, tenant(layout_settings))
        async with (
            following(proxied, layout_settings) as follower,
            following(proxied, layout_settings, lease_s=FOR_EVER_S) as unguarded,
        ):
            for fault in (proxy.refuse, proxy.stall):
                name = f"grant-{fault.__name__}"
                offset = await append(direct, layout_settings, grant(name))
                for each in (follower, unguarded):
                    await each.wait_for_version(offset + 1, WAIT_S_MAX)
                    assert each.problem is None
                snapshot = follower.snapshot()
                fault()
                revoked = await append(direct, layout_settings, revocation(name))
                await until(lambda: follower.problem is not None, "the lease has run out")
                assert follower.lease_age_s() > LEASE_S
                assert "not confirmed for" in (follower.problem or "")
                assert follower.version <= revoked
                # What was handed out before carries its own confirmation, which is as old.
                assert snapshot.confirmed_at <= follower.confirmed_at
                assert unguarded.problem is None
                assert unguarded.version <= revoked
                assert not unguarded.rights.grant_ended(name)
                proxy.heal()
                # Not `wait_ready`: it raises the last setback, which stands until the next try.
                await until(lambda: follower.problem is None, "it follows again")
                assert follower.version > revoked
                assert follower.rights.grant_ended(name)
