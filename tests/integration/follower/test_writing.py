"""The writer: verdicts, repeats, imports, and answers that get lost."""

import asyncio

import pytest

from streams.authorization_writer import AuthorizationWriter
from streams.errors import ChangeVoidError, EmptyLogError, LeaseExpiredError
from streams.follower import Follower
from streams.rights import Applied
from streams.settings import AuthorizationSettings, KafkaSettings, LayoutSettings
from streams.topics import TopicNames
from streams.topics_admin import apply_topics
from tests.kafka_support import BrokerFactory
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
    whole_import,
    writing,
)
from tests.tcp_proxy import PRODUCE, Fault, Rule, TcpProxy
from tests.transaction_support import make_topics

pytestmark = pytest.mark.broker


async def test_an_accepted_change_comes_back_with_its_offset(
    kafka_settings: KafkaSettings, layout_settings: LayoutSettings, midgate_topics: TopicNames
) -> None:
    async with (
        following(kafka_settings, layout_settings, heartbeat=False) as follower,
        writing(kafka_settings, layout_settings, follower) as writer,
    ):
        applied = await writer.append(*tenant(layout_settings))
        assert (applied.kind, applied.subject, applied.verdict) == (
            "TENANT",
            "tenant/acme",
            "accepted",
        )
        assert follower.version > applied.offset
        assert "acme" in follower.rights.tenants


async def test_a_void_change_raises_with_the_rules_reason(
    kafka_settings: KafkaSettings, layout_settings: LayoutSettings, midgate_topics: TopicNames
) -> None:
    async with (
        following(kafka_settings, layout_settings, heartbeat=False) as follower,
        writing(kafka_settings, layout_settings, follower) as writer,
    ):
        with pytest.raises(ChangeVoidError) as refused:
            await writer.append(*grant("g1"))
        assert refused.value.reason == "unknown_reference"
        assert refused.value.hint
        await writer.append(*tenant(layout_settings))
        with pytest.raises(ChangeVoidError) as refused:
            await writer.append(*tenant(layout_settings))
        assert refused.value.reason == "base"


async def test_a_change_id_counts_once(
    kafka_settings: KafkaSettings, layout_settings: LayoutSettings, midgate_topics: TopicNames
) -> None:
    """Appended twice, it has the first one's verdict and offset."""
    change = tenant(layout_settings)
    async with (
        following(kafka_settings, layout_settings, heartbeat=False) as follower,
        writing(kafka_settings, layout_settings, follower) as writer,
    ):
        first = await writer.append(*change)
        assert await writer.append(*change) == first
        assert await follower.wait_for_change(change.change_id, WAIT_S_MAX) == first


async def test_an_import_is_all_or_nothing(
    kafka_settings: KafkaSettings, layout_settings: LayoutSettings, midgate_topics: TopicNames
) -> None:
    progress: list[int] = []
    async with (
        following(kafka_settings, layout_settings, heartbeat=False) as follower,
        writing(kafka_settings, layout_settings, follower) as writer,
    ):
        await writer.append(*tenant(layout_settings))
        with pytest.raises(ChangeVoidError) as refused:
            await writer.append_many(whole_import(50, broken=True))
        assert refused.value.reason == "import_row"
        assert not follower.rights.grants
        rows = whole_import(12_000)
        applied = await writer.append_many(rows, on_progress=progress.append)
        assert (applied.kind, applied.verdict) == ("IMPORT_CLOSE", "accepted")
        assert len(follower.rights.grants) == 12_000
    assert progress == [10_000, 12_001]


async def test_an_empty_log_is_not_written_to(
    kafka_settings: KafkaSettings, layout_settings: LayoutSettings
) -> None:
    await make_topics(kafka_settings, layout_settings.topics.authorization)
    async with following(kafka_settings, layout_settings, ready=False) as follower:
        with pytest.raises(EmptyLogError):
            async with writing(kafka_settings, layout_settings, follower):
                pass


async def test_behind_an_open_transaction_the_verdict_stays_unknown(
    kafka_settings: KafkaSettings, layout_settings: LayoutSettings, midgate_topics: TopicNames
) -> None:
    """The caller is told that the change stands in the log, and who holds its verdict up."""
    async with (
        following(kafka_settings, layout_settings) as follower,
        writing(kafka_settings, layout_settings, follower) as writer,
    ):
        await writer.append(*tenant(layout_settings))
        await writer.append(*grant("g1"))
        async with foreign_transaction(kafka_settings, layout_settings) as foreign:
            change = revocation("g1")
            with pytest.raises(LeaseExpiredError, match="was appended"):
                await writer.append(*change, timeout_s=0.5)
            await foreign.abort_transaction()
        applied = await follower.wait_for_change(change.change_id, WAIT_S_MAX)
        assert applied.verdict == "accepted"


async def test_after_a_lost_answer_a_change_is_appended_again_and_counts_once(
    broker_factory: BrokerFactory, layout_settings: LayoutSettings
) -> None:
    """The connection breaks after or before the broker took the change: nobody can tell which."""
    async with await TcpProxy.start() as proxy:
        broker = await asyncio.to_thread(broker_factory, proxy.listener())
        direct = KafkaSettings(bootstrap=broker.bootstrap)
        await apply_topics(direct, layout_settings)
        proxy.rule = first_only(PRODUCE, Fault.CUT_ANSWER)
        verdicts = await append_twice(proxy, direct, layout_settings, "acme")
        assert verdicts == ["accepted", "repeat"]
        proxy.rule = first_only(PRODUCE, Fault.CUT)
        assert await append_twice(proxy, direct, layout_settings, "globex") == ["accepted"]


async def append_twice(
    proxy: TcpProxy, direct: KafkaSettings, layout: LayoutSettings, tenant_id: str
) -> list[str]:
    """Let a writer lose its first answer; the verdicts on all records of its change.

    Its follower begins to read only when the second attempt is answered, so that no early
    verdict makes that attempt unnecessary.
    """
    proxy.requests.clear()
    settings = AuthorizationSettings(authorization_staleness_s_max=LEASE_S)
    follower = Follower(direct, layout, settings, heartbeat=False)
    change = tenant(layout, tenant_id)
    seen: list[Applied] = []
    follower.on_applied.append(seen.append)
    async with writing(KafkaSettings(bootstrap=proxy.address), layout, follower) as writer:
        appending = asyncio.create_task(writer.append(*change, timeout_s=WAIT_S_MAX))
        await until(lambda: proxy.requests.get(PRODUCE, 0) >= 2, "it is appended again")
        await until(lambda: not writer._appender._lock.locked(), "that was answered")
        await follower.start()
        assert (await appending).verdict == "accepted"
        await follower.stop()
    return [applied.verdict for applied in seen if applied.change_id == change.change_id]


def first_only(api_key: int, fault: Fault) -> Rule:
    """A rule for the first request of a kind; the later ones pass."""
    left = [fault]
    return lambda key, frame: left.pop() if key == api_key and left else Fault.PASS


async def test_a_writer_needs_no_more_than_its_follower(
    kafka_settings: KafkaSettings, layout_settings: LayoutSettings, midgate_topics: TopicNames
) -> None:
    """A change appended by somebody else is met as well: two writers of one change id."""
    change = tenant(layout_settings)
    async with following(kafka_settings, layout_settings, heartbeat=False) as follower:
        writer = AuthorizationWriter(kafka_settings, layout_settings, follower)
        offset = await append(kafka_settings, layout_settings, change)
        applied = await writer.append(*change)
        await writer.stop()
        assert (applied.offset, applied.verdict) == (offset, "accepted")
