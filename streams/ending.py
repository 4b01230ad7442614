"""Ends tasks for certain, within a stated time."""

import asyncio
from collections.abc import Iterable
from typing import Any

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
