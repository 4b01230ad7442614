"""What a follower remembers of the changes it applied."""

import asyncio

from streams.applied_changes import CHANGES_MAX, AppliedChanges
from streams.rights import Applied


def applied(number: int, verdict: str = "accepted", offset: int = 0) -> Applied:
    change_id = number.to_bytes(16, "big") if number else b""
    return Applied(offset, "GRANT", "grant/g", verdict, False, change_id, "", "", {})


def test_the_first_verdict_of_a_change_stays() -> None:
    changes = AppliedChanges()
    first = applied(1, "void:base")
    changes.remember(first)
    changes.remember(applied(1, "repeat", 5))
    assert changes.get(first.change_id) is first


def test_a_repeat_of_something_unknown_is_all_there_is_to_tell() -> None:
    changes = AppliedChanges()
    changes.remember(repeat := applied(1, "repeat"))
    assert changes.get(repeat.change_id) is repeat


def test_rows_and_records_without_id_are_not_kept() -> None:
    changes = AppliedChanges()
    changes.remember(row := applied(1, "staged"))
    changes.remember(applied(0, "void:malformed"))
    assert changes.get(row.change_id) is None
    assert changes.get(b"") is None


def test_memory_is_bounded_and_the_oldest_goes_first() -> None:
    changes = AppliedChanges()
    for number in range(1, CHANGES_MAX + 2):
        changes.remember(applied(number))
    assert changes.get(applied(1).change_id) is None
    assert changes.get(applied(2).change_id) is not None
    assert changes.get(applied(CHANGES_MAX + 1).change_id) is not None


async def test_everybody_who_waits_is_woken_once() -> None:
    changes = AppliedChanges()
    waiting = [asyncio.create_task(changes.next()) for _ in range(3)]
    await asyncio.sleep(0)
    changes.wake()
    await asyncio.wait_for(asyncio.gather(*waiting), 5)
    late = asyncio.create_task(changes.next())
    await asyncio.sleep(0)
    assert not late.done()
    late.cancel()
