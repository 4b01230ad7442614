"""What a follower has applied lately, for those who wait for a verdict or for anything new."""

import asyncio
from collections import OrderedDict

from streams.rights import Applied

# Far more than anybody waits for at one time. Rows of an import are not kept: their close is.
CHANGES_MAX = 4096
STAGED, REPEAT = "staged", "repeat"


class AppliedChanges:
    """Verdicts by change id, the first one of each, and a signal for every step."""

    def __init__(self) -> None:
        self._verdicts: OrderedDict[bytes, Applied] = OrderedDict()
        self._step = asyncio.Event()

    def remember(self, applied: Applied) -> None:
        """Keep the verdict on a change. A repeat tells nothing new about one that is known."""
        if applied.verdict == STAGED or not applied.change_id:  # or of no change at all
            return
        if applied.verdict == REPEAT and applied.change_id in self._verdicts:
            return
        self._verdicts[applied.change_id] = applied
        if len(self._verdicts) > CHANGES_MAX:
            self._verdicts.popitem(last=False)

    def get(self, change_id: bytes) -> Applied | None:
        """The verdict, if a record of this change was met."""
        return self._verdicts.get(change_id)

    def wake(self) -> None:
        """Let everybody look again."""
        step, self._step = self._step, asyncio.Event()
        step.set()

    async def next(self) -> None:
        """Until the next `wake`."""
        await self._step.wait()
