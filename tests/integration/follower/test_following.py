"""Followers on a real broker: start, agreement, waiting, freshness, and what ends them."""

import asyncio
import time

import pytest

from streams.errors import (
    BrokerUnreachableError,
    EmptyLogError,
    LeaseExpiredError,
    UpgradeNeededError,
    WrongLogError,
)
from streams.follower import Follower
from streams.lease import NEVER
from streams.lease_clock import lease_clock
from streams.rights import Applied
from streams.settings import AuthorizationSettings, KafkaSettings, LayoutSettings
from streams.topics import TopicNames
from tests.log_support import (
    LEASE_S,
    WAIT_S_MAX,
    Written,
    append,
    following,
    foreign_transaction,
    grant,
    revocation,
    tenant,
    until,
)
from tests.transaction_support import make_topics

pytestmark = pytest.mark.broker


async def test_a_log_without_topic_or_records_is_refused_with_the_hint(
    kafka_settings: KafkaSettings, layout_settings: LayoutSettings
) -> None:
    """First no topic, then an empty one: people are told at once, a worker waits and says so."""
    for _ in range(2):
        with pytest.raises(EmptyLogError) as refused:
            async with following(kafka_settings, layout_settings, heartbeat=False):
                pass
        assert "topics apply" in refused.value.hint
        async with following(kafka_settings, layout_settings, ready=False) as worker:
            await until(lambda: "authorization" in (worker.problem or ""), "it says so")
            assert worker.snapshot().confirmed_at == NEVER
        if refused.value.args[0].endswith("empty"):
            return
        await make_topics(kafka_settings, layout_settings.topics.authorization)
    raise AssertionError("the empty topic was never seen as empty")


async def test_an_address_without_broker_is_told_at_once(layout_settings: LayoutSettings) -> None:
    nobody = KafkaSettings(bootstrap="127.0.0.1:1")
    with pytest.raises(BrokerUnreachableError):
        async with following(nobody, layout_settings, heartbeat=False):
            pass


async def test_a_log_that_is_not_ours_ends_following(
    kafka_settings: KafkaSettings, layout_settings: LayoutSettings
) -> None:
    await make_topics(kafka_settings, layout_settings.topics.authorization)
    await append(kafka_settings, layout_settings, tenant(layout_settings))
    with pytest.raises(WrongLogError):
        async with following(kafka_settings, layout_settings, heartbeat=False):
            pass


async def test_it_applies_what_is_there_and_what_comes(
    kafka_settings: KafkaSettings, layout_settings: LayoutSettings, midgate_topics: TopicNames
) -> None:
    await append(kafka_settings, layout_settings, tenant(layout_settings), grant("g1"))
    seen: list[Applied] = []
    async with following(kafka_settings, layout_settings, heartbeat=False) as follower:
        assert follower.problem is None
        assert set(follower.rights.tenants) == {"acme"}
        assert follower.rights.grants["g1"]
        before = follower.version
        follower.on_applied.append(seen.append)
        waiting = asyncio.create_task(follower.wait_restricting(before, WAIT_S_MAX))
        change = revocation("g1")
        offset = await append(kafka_settings, layout_settings, change)
        assert await waiting == offset + 1
        applied = await follower.wait_for_change(change.change_id, WAIT_S_MAX)
        assert (applied.offset, applied.verdict) == (offset, "accepted")
        assert seen == [applied]
        await follower.wait_for_version(offset + 1, WAIT_S_MAX)
        assert follower.snapshot().version == follower.version == offset + 1
        with pytest.raises(LeaseExpiredError, match=f"version {offset + 1}"):
            await follower.wait_for_version(offset + 2, 0.1)
        # Nobody without heartbeat ever appends.
        assert follower.snapshot().log_id == follower.rights.log_id


async def test_two_followers_agree_on_the_chain(
    kafka_settings: KafkaSettings, layout_settings: LayoutSettings, midgate_topics: TopicNames
) -> None:
    """One reads live, heartbeats between the changes; the other reads it all later."""
    async with following(kafka_settings, layout_settings) as live:
        for number in range(20):
            await append(kafka_settings, layout_settings, grant(f"g{number}"), grant(f"g{number}"))
        await append(kafka_settings, layout_settings, tenant(layout_settings), grant("g1", base=9))
        offset = await append(kafka_settings, layout_settings, Written(b"junk", b"junk"))
        async with following(kafka_settings, layout_settings, heartbeat=False) as late:
            await late.wait_for_version(offset + 1, WAIT_S_MAX)
            await live.wait_for_version(offset + 1, WAIT_S_MAX)
            assert late.rights.chain == live.rights.chain
            assert late.rights.log_id == live.rights.log_id


async def test_heartbeats_keep_an_idle_log_fresh(
    kafka_settings: KafkaSettings, layout_settings: LayoutSettings, midgate_topics: TopicNames
) -> None:
    async with following(kafka_settings, layout_settings) as follower:
        begin, version = time.monotonic(), follower.version
        while time.monotonic() - begin < 1.5 * LEASE_S:
            assert follower.problem is None
            assert follower.snapshot().confirmed_at >= lease_clock() - LEASE_S
            await asyncio.sleep(0.05)
        # A third of the lease each, and not one with every question.
        assert 2 <= follower.version - version <= 12


async def test_markers_of_an_aborted_transaction_count_as_read(
    kafka_settings: KafkaSettings, layout_settings: LayoutSettings, midgate_topics: TopicNames
) -> None:
    """What was aborted is no change, but the end of the log lies behind it."""
    change = tenant(layout_settings)
    async with foreign_transaction(kafka_settings, layout_settings, change.value) as foreign:
        await foreign.abort_transaction()
    async with following(kafka_settings, layout_settings, heartbeat=False) as follower:
        assert follower.problem is None
        assert not follower.rights.tenants
        assert follower.version == 4  # log start, layout, the aborted record, its marker


async def test_a_record_of_a_newer_version_ends_following_at_once(
    kafka_settings: KafkaSettings, layout_settings: LayoutSettings, midgate_topics: TopicNames
) -> None:
    """The lease is gone in the same moment, although it had just been proved."""
    newer = Written(b"\0\0\0\x27\x0f" + b"?" * 20, b"x" * 16)
    async with following(kafka_settings, layout_settings) as follower:
        assert follower.snapshot().confirmed_at > NEVER
        await append(kafka_settings, layout_settings, newer)
        with pytest.raises(UpgradeNeededError):
            await follower.wait_changed(follower.version + 1000, WAIT_S_MAX)
        assert "upgrade" in (follower.problem or "")
        assert follower.snapshot().confirmed_at == NEVER
        assert follower.lease_age_s() == float("inf")
    with pytest.raises(UpgradeNeededError):
        async with following(kafka_settings, layout_settings, heartbeat=False):
            pass


async def test_it_follows_on_after_stop_and_start(
    kafka_settings: KafkaSettings, layout_settings: LayoutSettings, midgate_topics: TopicNames
) -> None:
    settings = AuthorizationSettings(authorization_staleness_s_max=LEASE_S)
    follower = Follower(kafka_settings, layout_settings, settings, heartbeat=True)
    for tenant_id in ("acme", "globex"):
        await follower.start(ready_within_s=WAIT_S_MAX)
        change = tenant(layout_settings, tenant_id)
        await append(kafka_settings, layout_settings, change)
        applied = await follower.wait_for_change(change.change_id, WAIT_S_MAX)
        assert applied.verdict == "accepted"
        await follower.stop()
    assert set(follower.rights.tenants) == {"acme", "globex"}
