"""Bounds of one ingest, and the pace it keeps."""

import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class IngestLimits:
    """Bounds of one ingest."""

    lines_a_transaction: int = 5_000
    # None: as fast as the broker takes them.
    lines_per_s_max: float | None = None
    transaction_timeout_ms: int = 10_000
    # An open transaction of a dead ingest ends with its time-out plus the broker's sweep of 10 s.
    held_s_max: float = 30.0
    # Starts in a row without progress, a growing pause between them: about half a minute, which
    # is several times what a broker takes to restart.
    starts_max: int = 8
    pause_s_max: float = 8.0


class Pace:
    """Keeps an ingest at `lines_per_s_max`, a few portions a second, none of them in a burst."""

    PORTIONS_PER_S = 5

    def __init__(self, limits: IngestLimits, done: int) -> None:
        self._rate = limits.lines_per_s_max
        self._done = done
        self._began = time.monotonic()
        self.lines_max = limits.lines_a_transaction
        if self._rate is not None:
            self.lines_max = max(1, min(self.lines_max, int(self._rate / self.PORTIONS_PER_S)))

    def pause_s(self, done: int) -> float:
        """Seconds to wait before the next portion, between transactions."""
        if self._rate is None:
            return 0.0
        return max(0.0, self._began + (done - self._done) / self._rate - time.monotonic())
