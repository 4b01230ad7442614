"""Tasks that are to end, end."""

import asyncio
import contextlib

from streams.ending import end_tasks, say_goodbye


async def test_a_task_that_swallows_a_cancellation_is_told_again() -> None:
    async def stubborn() -> None:
        for _ in range(2):
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(60)
        await asyncio.sleep(60)

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    assert await end_tasks([task], 5.0)
    assert task.cancelled()


async def test_what_does_not_end_is_left_within_the_time() -> None:
    released = asyncio.Event()

    async def deaf() -> None:
        while not released.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await released.wait()

    task = asyncio.create_task(deaf())
    await asyncio.sleep(0)
    assert not await end_tasks([task], 0.05)
    released.set()
    await task


async def test_a_failure_is_not_raised() -> None:
    async def failing() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            raise ValueError

    task = asyncio.create_task(failing())
    await asyncio.sleep(0)
    assert await end_tasks([task], 5.0)
    assert isinstance(task.exception(), ValueError)


async def test_a_goodbye_that_swallows_a_cancellation_is_ended() -> None:
    async def stubborn() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        await asyncio.sleep(60)

    assert await say_goodbye(stubborn(), 2.0)


async def test_a_goodbye_for_ever_is_left_within_the_time() -> None:
    released = asyncio.Event()

    async def deaf() -> None:
        while not released.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await released.wait()

    assert not await say_goodbye(deaf(), 0.05)
    released.set()


async def test_a_goodbye_that_fails_raises_nothing() -> None:
    async def failing() -> None:
        raise ValueError

    assert await say_goodbye(failing(), 5.0)
