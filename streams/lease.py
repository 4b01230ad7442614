"""The freshness lease as arithmetic over instants that are passed in. [core]

Two facts, and the older one counts:

- *end*: the version covers an end of the log that the broker named. Its instant is taken before
  the question was sent, so that a slow answer is an old one.
- *append*: a record not seen before has arrived. Its instant is that of the last question whose
  answer did not yet cover the record: the record was committed after that. The time of arrival
  would prove less, as a deposed leader can hand out old records, one by one, for a long time.

A leader that was deposed but still answers can feign the first fact for ever, never the second.
Units: seconds of one monotonic clock. Nothing here reads a clock.
"""

from collections import deque

# Ends asked for but not yet reached. At ten questions a lease 64 of them cover six leases; beyond
# that the newest is replaced, which can only make the lease look older than it is.
QUESTIONS_MAX = 64

NEVER = float("-inf")


class Lease:
    """How fresh the state of a follower is proved to be.

    `needs_appends=False` leaves the second fact out: for those who only show rights and decide
    nothing by them.
    """

    __slots__ = ("_ends", "append_at", "beaten_at", "end_at", "length_s", "needs_appends")

    def __init__(self, length_s: float, *, needs_appends: bool) -> None:
        if not length_s > 0:
            raise ValueError("a lease has a positive length")
        self.length_s = length_s
        self.needs_appends = needs_appends
        self.end_at = NEVER
        self.append_at = NEVER
        self.beaten_at = NEVER
        self._ends: deque[tuple[float, int]] = deque()

    def answered(self, asked_at: float, end: int, version: int) -> None:
        """The broker, asked at `asked_at`, named `end`: every committed record lies below it."""
        if len(self._ends) == QUESTIONS_MAX:
            self._ends.pop()
        self._ends.append((asked_at, end))
        self.reached(version)

    def arrived(self, offset: int) -> None:
        """A record not seen before has arrived, at `offset` (of several: the last)."""
        for asked_at, end in self._ends:
            if end <= offset:
                self.append_at = max(self.append_at, asked_at)

    def reached(self, version: int) -> None:
        """Everything below `version` has been applied."""
        for asked_at, end in self._ends:
            if end <= version:
                self.end_at = max(self.end_at, asked_at)
        # The newest covered end stays: the next record is dated by it.
        while len(self._ends) > 1 and self._ends[1][1] <= version:
            self._ends.popleft()

    @property
    def confirmed_at(self) -> float:
        """The instant up to which nothing was missed; `NEVER` before the first proof."""
        return min(self.end_at, self.append_at) if self.needs_appends else self.end_at

    def age_s(self, now: float) -> float:
        """Seconds since the last proof; infinite before the first."""
        return now - self.confirmed_at

    def holds(self, now: float) -> bool:
        """Whether a decision may rest on this state."""
        return self.age_s(now) <= self.length_s

    def heartbeat_due(self, now: float, jitter: float) -> bool:
        """Whether to append a heartbeat: no proof by a new record for a third of the lease.

        `jitter` in [0, 1] puts it off by up to a quarter of that third, so that of many followers
        one comes first and its record serves the others.
        """
        if not self.needs_appends:
            return False
        return now - max(self.append_at, self.beaten_at) >= self.length_s / 3 * (1 + jitter / 4)

    def beaten(self, now: float) -> None:
        """A heartbeat was tried; the next one is not due before another third."""
        self.beaten_at = now
