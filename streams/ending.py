"""Ends tasks for certain, within a stated time."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

T = TypeVar("T")

# aiokafka's close swallows a cancellation that reaches it while it waits for its own task (tried):
# the task then goes on as if nothing had been said. So it is said again.
AGAIN_S = 0.2


async def end_tasks(tasks: Iterable[asyncio.Task[Any]], within_s: float) -> bool:
    """Cancel tasks until they have ended; False if one has not within the time.

    What they end with is not raised.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within_s
    running = {task for task in tasks if not task.done()}
    while running and loop.time() < deadline:
        for task in running:
            task.cancel()
        done, running = await asyncio.wait(
            running, timeout=min(AGAIN_S, max(0.0, deadline - loop.time()))
        )
        for task in done:
            if not task.cancelled():
                task.exception()  # seen, or asyncio would complain
    return not running


async def say_goodbye(goodbye: Coroutine[Any, Any, Any], within_s: float) -> bool:
    """Await a client's own stop, and after half the time end it; False if it has not ended.

    For aiokafka's clients, which can take for ever over it when their broker is gone. An error of
    the stop is not raised: whoever stops has what it wanted, or another error to tell of.
    """
    stopping = asyncio.create_task(goodbye)
    try:
        await asyncio.wait([stopping], timeout=within_s / 2)
    finally:
        ended = await end_tasks([stopping], within_s / 2)
    if ended and not stopping.cancelled():
        stopping.exception()  # seen, or asyncio would complain
    return ended


async def in_thread(work: Callable[[], T]) -> T:
    """Run work in a thread; cancelled, wait for its end all the same: what it works on may be
    closed by whoever was cancelled, and a thread cannot be."""
    running = asyncio.create_task(asyncio.to_thread(work))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise
