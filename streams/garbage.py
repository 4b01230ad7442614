"""Python's cycle collector, taken out of the hot path.

Records and batches are freed by reference counts; a collection in the middle of a batch walks
every record and grant for nothing, which cost a quarter of the throughput. So what is there at
the start is frozen, the collector is off, and it runs between batches instead.
"""

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager

BATCHES_MAX = 100
INTERVAL_S_MAX = 30.0


class BetweenBatches:
    """Collects at most every `BATCHES_MAX` batches or `INTERVAL_S_MAX`, never in a batch."""

    def __init__(self) -> None:
        self._batches = 0
        self._collected_at = time.monotonic()

    def start(self) -> None:
        """Freeze what there is and switch automatic collection off."""
        gc.collect()
        gc.freeze()
        gc.disable()

    def stop(self) -> None:
        """Back to Python's own ways."""
        gc.enable()
        gc.unfreeze()

    def after_batch(self) -> None:
        """Call between batches, and once in a while when idle."""
        self._batches += 1
        now = time.monotonic()
        if self._batches >= BATCHES_MAX or now - self._collected_at >= INTERVAL_S_MAX:
            gc.collect()
            self._batches = 0
            self._collected_at = now


@contextmanager
def collector_off() -> Iterator[None]:
    """No collection inside; for a bounded piece of work that makes much and leaves no cycles."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
