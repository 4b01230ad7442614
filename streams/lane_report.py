"""What a lane tells the world: its state, its metrics, its log lines."""

import time
from collections.abc import Sequence

from aiokafka.errors import OffsetOutOfRangeError

from streams.delivery import DeposedError, MissingOffsetError
from streams.errors import (
    ChangeVoidError,
    ConfigurationError,
    NotAuthorizedError,
    SchemaError,
    WrongLogError,
)
from streams.health import LaneHealth
from streams.holds_topic import HoldsUnreadableError
from streams.logs import get_logger
from streams.metrics import LaneState, Metrics, Outcome
from streams.raw_record import RawRecord
from streams.routing import RoutedBatch
from streams.transactions import TransactionFailedError

log = get_logger("streams.lane")

# What only somebody from outside can mend.
_NEEDS_MENDING = (
    ChangeVoidError,
    MissingOffsetError,
    OffsetOutOfRangeError,
    NotAuthorizedError,
    WrongLogError,
    SchemaError,
    ConfigurationError,
    HoldsUnreadableError,
)


class LaneReport:
    """State, counters and words of one lane; `health` is what the pages show."""

    def __init__(self, number: int, metrics: Metrics) -> None:
        self.health = LaneHealth()
        self.failures = 0  # in a row
        self._to_be_mended = False
        self._number = number
        self._label = str(number)
        self._metrics = metrics
        self._log = log.bind(lane=number)

    @property
    def state(self) -> LaneState:
        """What the lane is doing."""
        return self.health.state

    def enter(self, state: LaneState, problem: str = "") -> None:
        """The lane is in this state from now on."""
        self.step()
        self.health.state, self.health.problem = state, problem
        self._metrics.set_lane_state(self._number, state)

    def step(self) -> None:
        """A sign of life."""
        self.health.stepped_at = time.monotonic()

    def starting(self) -> None:
        """A start order begins; the last problem stands until it has succeeded."""
        self.enter(LaneState.STARTING, self.health.problem)
        self._metrics.lane_starts.labels(self._label).inc()

    def started(self, offsets: dict[int, int], version: int) -> None:
        """The start order succeeded."""
        self.enter(LaneState.RUNNING)
        self._log.info("lane_started", offsets=offsets, version=version)

    def ended(self, problem: str) -> None:
        """The lane's task ended though nobody had stopped the lane; it has to begin anew."""
        self.failures += 1
        self.enter(LaneState.STARTING, problem)
        self._log.error("lane_ended", problem=problem, failures=self.failures)

    def follows(self, ended: "LaneReport") -> None:
        """This lane begins in place of one that ended: the row of failures and the problem
        stand until it works."""
        self.failures = ended.failures
        self.enter(LaneState.STARTING, ended.health.problem)

    def stopped(self) -> None:
        """The lane has ended."""
        self.enter(LaneState.STOPPED)
        self._log.info("lane_stopped")

    def committed(self, outcome: Outcome) -> None:
        """A transaction was committed. After a failure that needs mending only events count:
        an acknowledgement gets through beside a topic that is refused, and proves nothing."""
        if outcome is Outcome.COMMITTED or not self._to_be_mended:
            if self.failures:
                self._log.info("lane_recovered", failures=self.failures)
            self.failures, self._to_be_mended = 0, False
        self.enter(LaneState.RUNNING)
        self._metrics.transactions.labels(outcome.value).inc()

    def delivered(self, records: Sequence[RawRecord], routed: RoutedBatch, seconds: float) -> None:
        """A batch was committed, `seconds` after its transaction began."""
        metrics, now_ms = self._metrics, time.time() * 1000
        holds = routed.holds
        metrics.events_held.inc(len(holds.added))
        metrics.holds_ended.labels("decided").inc(len(holds.decided))
        metrics.holds_ended.labels("given_up").inc(len(holds.given_up))
        if not records:  # held events alone
            metrics.deliveries.inc(routed.delivered_copies)
            metrics.count_denials(routed.withheld, routed.quarantined)
            metrics.commit_duration.observe(seconds)
            return
        times_ms = [record.timestamp for record in records]
        metrics.commit_duration.observe(seconds)
        metrics.events_routed.inc(len(records))
        metrics.deliveries.inc(routed.delivered_copies)
        metrics.count_denials(routed.withheld, routed.quarantined)
        metrics.event_latency.observe_since(times_ms, now_ms)
        metrics.batch_events.labels(self._label).set(len(records))
        late_s = max(0.0, now_ms - min(times_ms)) / 1000
        metrics.router_lag_seconds.labels(self._label).set(late_s)

    def held(self, events: int) -> None:
        """Events that wait for their label."""
        self._metrics.held_events.labels(self._label).set(events)

    def lag(self, events: int) -> None:
        """Events the lane has not committed yet."""
        self._metrics.router_lag.labels(self._label).set(events)
        if not events:
            self._metrics.router_lag_seconds.labels(self._label).set(0)

    def no_lease(self, problem: str) -> None:
        """The rights cannot be confirmed, so nothing is decided."""
        if self.state is not LaneState.NO_LEASE:
            self._log.warning("lane_stopped_deciding", problem=problem)
        self.enter(LaneState.NO_LEASE, problem)

    def lease_again(self, version: int) -> None:
        """The rights are confirmed again."""
        self.enter(LaneState.RUNNING)
        self._log.info("lane_decides_again", version=version)

    def failed(self, error: Exception) -> None:
        """A start order or a transaction failed; says what and, where one is to blame, whom."""
        self.failures += 1
        self._metrics.transactions.labels(Outcome.ABANDONED.value).inc()
        failure = error if isinstance(error, TransactionFailedError) else None
        topic = failure.topic if failure is not None else None
        needs_mending = topic is not None or isinstance(error, _NEEDS_MENDING)
        self._to_be_mended = needs_mending
        problem = str(error) or repr(error)
        self.enter(LaneState.BLOCKED if needs_mending else LaneState.STARTING, problem)
        fields = {"problem": problem, "failures": self.failures, "kind": type(error).__name__}
        if topic is not None:
            fields["topic"] = topic
        if hint := getattr(error, "hint", ""):
            fields["hint"] = hint
        if needs_mending:
            self._log.error("lane_blocked", **fields)
        elif failure is not None and failure.fenced:
            self._log.warning("lane_fenced", **fields)
        elif isinstance(error, DeposedError):
            self._log.info("lane_not_ours_now", **fields)
        else:
            self._log.warning("lane_failed", **fields)
