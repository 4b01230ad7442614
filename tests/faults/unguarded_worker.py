"""A worker without the guard: offsets are committed apart from the transaction of the records.

For the tests that show what the guard prevents; run as `python -m tests.faults.unguarded_worker`.
"""

import sys
from collections.abc import Mapping
from typing import Any

from midgate.cli import run
from streams import transactions
from streams.transactions import TransactionalProducer

_send_offsets = TransactionalProducer.send_offsets
_commit = TransactionalProducer.commit


async def keep_offsets(self: TransactionalProducer, offsets: Mapping[Any, Any], group: str) -> None:
    """Keep them for after the commit, unless nothing else is in the transaction (the nonce)."""
    if len(offsets) == 1 and "nonce" in next(iter(offsets.values())).metadata:
        await _send_offsets(self, offsets, group)
        return
    held, _ = getattr(self, "held", ({}, group))
    self.held = ({**held, **offsets}, group)  # type: ignore[attr-defined]


async def commit_twice(self: TransactionalProducer) -> None:
    """Commit the records, and the offsets some time later: a kill between them doubles events."""
    import asyncio

    await _commit(self)
    held = getattr(self, "held", None)
    if held is not None:
        del self.held  # type: ignore[attr-defined]
        await asyncio.sleep(0.3)
        await self.begin()
        await _send_offsets(self, *held)
        await _commit(self)


if __name__ == "__main__":
    transactions.TransactionalProducer.send_offsets = keep_offsets  # type: ignore[method-assign]
    transactions.TransactionalProducer.commit = commit_twice  # type: ignore[method-assign]
    sys.exit(run(["worker", *sys.argv[1:]]))
