"""The leader of the log still answers, but takes no appends: as a deposed one does.

It names its own end for ever, and a follower that is content with that stays "current" while the
real log goes on elsewhere. Only a record not seen before shows that this is still the log.
"""

import asyncio

import pytest

from streams.settings import KafkaSettings, LayoutSettings
from streams.topics_admin import apply_topics
from tests.kafka_support import BrokerFactory
from tests.log_support import LEASE_S, WAIT_S_MAX, following, until
from tests.tcp_proxy import LIST_OFFSETS, PRODUCE, Fault, TcpProxy, aimed_at

pytestmark = [pytest.mark.broker, pytest.mark.fault]


async def test_freshness_runs_out_although_the_end_is_confirmed(
    broker_factory: BrokerFactory, layout_settings: LayoutSettings
) -> None:
    """Appends vanish behind the proxy; everything else passes. With the second fact switched off
    the same follower goes on claiming to be current."""
    async with await TcpProxy.start() as proxy:
        broker = await asyncio.to_thread(broker_factory, proxy.listener())
        await apply_topics(KafkaSettings(bootstrap=broker.bootstrap), layout_settings)
        proxied = KafkaSettings(bootstrap=proxy.address)
        async with (
            following(proxied, layout_settings) as guarded,
            following(proxied, layout_settings) as unguarded,
        ):
            unguarded._lease.needs_appends = False
            proxy.rule = aimed_at(PRODUCE, Fault.SWALLOW)
            await until(lambda: guarded.problem is not None, "the lease has run out")
            asked = proxy.requests[LIST_OFFSETS]
            await until(lambda: proxy.requests[LIST_OFFSETS] > asked + 2, "it still answers")
            assert guarded.lease_age_s() > LEASE_S
            assert "no new record" in (guarded.problem or "")
            assert unguarded.problem is None
            proxy.heal()
            proxy.cut()
            await guarded.wait_ready(WAIT_S_MAX)
