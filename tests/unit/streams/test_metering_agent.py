"""What waits for a partition's task, and what goes into one transaction."""

from streams.metering_agent import WAITING_FACTS_MAX, Inbox
from streams.partition_meter import (
    PORTION_BYTES_MAX,
    PORTION_FACTS_MAX,
    FactRecord,
    portions,
)


def facts(count: int, size: int = 1) -> list[FactRecord]:
    return [FactRecord(offset, b"x" * size) for offset in range(count)]


def test_facts_wait_in_order_until_they_are_taken():
    inbox = Inbox()
    for fact in facts(3):
        inbox.put(fact)
    assert not inbox.dropped
    assert inbox.take() == facts(3)
    assert inbox.take() == []


def test_a_full_inbox_keeps_nothing_and_says_so():
    """Or those that were kept would be metered, and those in between be taken for metered."""
    inbox = Inbox()
    for fact in facts(WAITING_FACTS_MAX + 2):
        inbox.put(fact)
    assert inbox.dropped
    assert inbox.take() == []
    assert not inbox.dropped


async def test_an_empty_inbox_waits_again_after_a_take():
    inbox = Inbox()
    inbox.put(facts(1)[0])
    await inbox.wait()
    inbox.take()
    waiting = inbox.wait()
    try:
        waiting.send(None)
    except StopIteration:
        raise AssertionError("nothing has come") from None
    waiting.close()


def test_portions_are_bounded_and_lose_nothing():
    many = facts(2 * PORTION_FACTS_MAX + 1)
    assert [len(one) for one in portions(many)] == [PORTION_FACTS_MAX, PORTION_FACTS_MAX, 1]
    large = facts(5, PORTION_BYTES_MAX // 2)
    assert [len(one) for one in portions(large)] == [2, 2, 1]
    assert [fact for one in portions(large) for fact in one] == large
    larger_than_allowed = facts(2, PORTION_BYTES_MAX + 1)
    assert [len(one) for one in portions(larger_than_allowed)] == [1, 1]
    assert list(portions([])) == []
    unset = [FactRecord(0, None)]
    assert list(portions(unset)) == [unset]
