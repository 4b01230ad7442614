"""A foreign transaction is open on the authorization log, with a revocation above it.

A `read_committed` reader stands before the transaction and does not see the revocation. Whoever
takes the last stable offset for the end of the log calls such a reader up to date and goes on
delivering under the revoked grant. Ours takes the high watermark: it is not current, says who
holds it up, and goes on by itself once the transaction has ended, either way.
"""

import pytest

from streams import log_end
from streams.errors import LeaseExpiredError
from streams.settings import KafkaSettings, LayoutSettings
from streams.topics import TopicNames
from tests.log_support import (
    LEASE_S,
    WAIT_S_MAX,
    append,
    following,
    foreign_transaction,
    grant,
    revocation,
    tenant,
    until,
)

pytestmark = [pytest.mark.broker, pytest.mark.fault]


@pytest.mark.parametrize("ending", ["commit", "abort"])
async def test_a_follower_started_then_is_not_current_and_names_the_holder(
    kafka_settings: KafkaSettings,
    layout_settings: LayoutSettings,
    midgate_topics: TopicNames,
    ending: str,
) -> None:
    await append(kafka_settings, layout_settings, tenant(layout_settings), grant("g1"))
    async with foreign_transaction(kafka_settings, layout_settings) as foreign:
        revoked = await append(kafka_settings, layout_settings, revocation("g1"))
        async with following(kafka_settings, layout_settings, ready=False) as follower:
            producer_id = f"producer id {foreign._txn_manager.producer_id} at offset 4"
            await until(lambda: producer_id in (follower.problem or ""), "the holder is named")
            assert "held up by an open transaction" in (follower.problem or "")
            assert follower.lease_age_s() == float("inf")
            with pytest.raises(LeaseExpiredError, match="held up"):
                await follower.wait_ready(0.2)
            if ending == "commit":
                await foreign.commit_transaction()
            else:
                await foreign.abort_transaction()
            await follower.wait_ready(WAIT_S_MAX)
            assert follower.version > revoked
            await follower.wait_for_version(revoked + 1, WAIT_S_MAX)
            assert follower.restricting_version == revoked + 1


async def test_a_running_follower_stops_within_its_lease(
    kafka_settings: KafkaSettings, layout_settings: LayoutSettings, midgate_topics: TopicNames
) -> None:
    """Its heartbeats stand behind the transaction as well, so neither fact is renewed."""
    async with following(kafka_settings, layout_settings) as follower:
        async with foreign_transaction(kafka_settings, layout_settings):
            await until(lambda: follower.problem is not None, "the lease has run out")
            assert follower.lease_age_s() > LEASE_S
            await until(
                lambda: "held up by an open transaction" in (follower.problem or ""), "it says why"
            )
        await follower.wait_ready(WAIT_S_MAX)


async def test_without_the_guard_it_calls_itself_current_under_the_revoked_grant(
    kafka_settings: KafkaSettings,
    layout_settings: LayoutSettings,
    midgate_topics: TopicNames,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The guard is the isolation of one question: with the last stable offset for the end, the
    first fact is proved although a revocation is hidden."""
    monkeypatch.setattr(log_end, "END_ISOLATION", log_end.READ_COMMITTED)
    await append(kafka_settings, layout_settings, tenant(layout_settings), grant("g1"))
    async with foreign_transaction(kafka_settings, layout_settings):
        revoked = await append(kafka_settings, layout_settings, revocation("g1"))
        async with following(kafka_settings, layout_settings, heartbeat=False) as follower:
            assert follower.problem is None
            assert follower.version <= revoked
            assert not follower.rights.grant_ended("g1")
