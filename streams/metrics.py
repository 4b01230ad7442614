"""The worker's metrics: names, helps that say what a high value means, and their updates.

One registry for one worker. No label carries a tenant, a MID or a number of a piece; `reason` is
a closed vocabulary (schemas/reasons.py).
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from itertools import accumulate

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector
from prometheus_client import disable_created_metrics as _without_created
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

LATENCY_BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0)
COMMIT_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class LaneState(StrEnum):
    """What a lane is doing; exactly one holds at a time."""

    STARTING = "starting"
    RUNNING = "running"
    HELD = "held"
    NO_LEASE = "no_lease"
    BLOCKED = "blocked"
    STOPPED = "stopped"


class Outcome(StrEnum):
    """How a transaction of a lane ended, as far as the lane knows."""

    COMMITTED = "committed"
    ACKNOWLEDGED = "acknowledged"
    ABANDONED = "abandoned"


class LatencyHistogram(Collector):
    """A histogram that takes a whole batch at once.

    Observing event by event costs about a microsecond each; sorting a batch's times and cutting
    them at the bucket bounds costs a tenth of that and is just as exact.
    """

    def __init__(self, name: str, documentation: str, bounds_s: Sequence[float]) -> None:
        self._name = name
        self._documentation = documentation
        self._bounds_s = tuple(bounds_s)
        self._counts = [0] * (len(bounds_s) + 1)
        self._sum_s = 0.0

    def observe_since(self, timestamps_ms: Iterable[float], now_ms: float) -> None:
        """Count every event's age at `now_ms`; a time in the future counts as zero."""
        times_ms = sorted(timestamps_ms)
        if not times_ms:
            return
        if times_ms[-1] > now_ms:
            times_ms = [min(time_ms, now_ms) for time_ms in times_ms]
        younger = 0
        for slot, bound_s in enumerate(self._bounds_s):
            # An age of at most the bound is a time of at least now - bound.
            upto = len(times_ms) - bisect_left(times_ms, now_ms - bound_s * 1000)
            self._counts[slot] += upto - younger
            younger = upto
        self._counts[-1] += len(times_ms) - younger
        self._sum_s += (now_ms * len(times_ms) - sum(times_ms)) / 1000

    def collect(self) -> Iterable[HistogramMetricFamily]:
        """The family as Prometheus reads it: cumulative buckets."""
        bounds = [str(bound) for bound in self._bounds_s] + ["+Inf"]
        buckets = list(zip(bounds, accumulate(self._counts), strict=True))
        yield HistogramMetricFamily(
            self._name, self._documentation, buckets=buckets, sum_value=self._sum_s
        )


class Metrics:
    """Every metric of one worker, in a registry of its own."""

    def __init__(self, version: str, core: str = "plain") -> None:
        _without_created()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self._traffic()
        self._waiting()
        self._transactions()
        self._lanes()
        self._authorization()
        self._metering()
        # process_cpu_seconds_total, process_resident_memory_bytes and so on, as everywhere.
        ProcessCollector(registry=self.registry)
        what = "Version that runs, and whether its core is compiled or plain Python; no value."
        Info("midgate_build", what, registry=self.registry).info({"version": version, "core": core})

    def _waiting(self) -> None:
        registry = self.registry
        self.events_held = Counter(
            "midgate_events_held",
            "Events that began to wait for their label. High means that labels come late or not "
            "at all.",
            registry=registry,
        )
        self.holds_ended = Counter(
            "midgate_holds_ended",
            "Events that waited for their label: decided when it came, or given up at their "
            "deadline. Many given up means that labels are missing.",
            ["how"],
            registry=registry,
        )
        self.held_events = Gauge(
            "midgate_held_events",
            "Events that a lane holds. High means that labels come late; at the bound "
            "(MIDGATE_HOLD_EVENTS_MAX) further events are withheld at once.",
            ["lane"],
            registry=registry,
        )

    def _traffic(self) -> None:
        registry = self.registry
        self.events_routed = Counter(
            "midgate_events_routed",
            "Raw events decided and committed. High is busy; no growth while lag grows is a stall.",
            registry=registry,
        )
        self.deliveries = Counter(
            "midgate_deliveries",
            "Records placed in tenant topics, one for each entitled tenant. High is busy.",
            registry=registry,
        )
        self.events_withheld = Counter(
            "midgate_events_withheld",
            "Events nobody was entitled to, by reason. A sudden high rate means rights ended, or "
            "that nobody has been given rights to new mail.",
            ["reason"],
            registry=registry,
        )
        self.events_quarantined = Counter(
            "midgate_events_quarantined",
            "Events that could not be decided and went to quarantine, by reason. High means that "
            "a feed changed its format or sends broken numbers.",
            ["reason"],
            registry=registry,
        )
        self.quarantine_seen = Counter(
            "midgate_quarantine_seen",
            "Records this worker saw in the quarantine topic, by reason, at least once each. High "
            "means that undecided events pile up and somebody has to look.",
            ["reason"],
            registry=registry,
        )
        self.quarantine_newest = Gauge(
            "midgate_quarantine_newest_timestamp_seconds",
            "Receipt time of the newest record seen in quarantine, by reason. High (recent) means "
            "that the cause is still there.",
            ["reason"],
            registry=registry,
        )
        self.quarantine_oldest = Gauge(
            "midgate_quarantine_oldest_timestamp_seconds",
            "Receipt time of the oldest record this worker saw in quarantine, by reason. A high "
            "age (now minus this) means that nobody has dealt with it.",
            ["reason"],
            registry=registry,
        )
        self.event_latency = LatencyHistogram(
            "midgate_event_latency_seconds",
            "From receipt in raw to committed in the tenant topics. High means that tenants see "
            "scans late.",
            LATENCY_BUCKETS_S,
        )
        registry.register(self.event_latency)

    def _transactions(self) -> None:
        self.transactions = Counter(
            "midgate_transactions",
            "Transactions of the lanes by outcome. Many abandoned ones mean failing brokers, "
            "refused topics or owners that fence each other.",
            ["outcome"],
            registry=self.registry,
        )
        self.commit_duration = Histogram(
            "midgate_commit_duration_seconds",
            "From the begin of a transaction to its commit. High means a slow broker or very "
            "large batches; it bounds how fast a revocation settles.",
            buckets=COMMIT_BUCKETS_S,
            registry=self.registry,
        )
        self.batch_events = Gauge(
            "midgate_batch_events",
            "Raw events in the last batch of a lane. High means that the lane works off a backlog.",
            ["lane"],
            registry=self.registry,
        )

    def _lanes(self) -> None:
        self.router_lag = Gauge(
            "midgate_router_lag_events",
            "Raw events a lane of this worker has not committed yet. High or growing means that "
            "routing is slower than the feeds.",
            ["lane"],
            registry=self.registry,
        )
        self.router_lag_seconds = Gauge(
            "midgate_router_lag_seconds",
            "Age of the oldest event of a lane's last batch when it was committed; 0 when there "
            "is nothing to do. High means that tenants are behind by that much.",
            ["lane"],
            registry=self.registry,
        )
        self.lane_state = Gauge(
            "midgate_lane_state",
            "1 for the state a lane of this worker is in, 0 for the others. A high (1) blocked or "
            "no_lease means that the lane delivers nothing.",
            ["lane", "state"],
            registry=self.registry,
        )
        self.lane_starts = Counter(
            "midgate_lane_starts",
            "Start orders gone through by lanes of this worker. High means failures or rebalances "
            "one after the other.",
            ["lane"],
            registry=self.registry,
        )

    def _authorization(self) -> None:
        self.authorization_version = Gauge(
            "midgate_authorization_version",
            "Offset up to which the authorization log is applied. It only grows; one that is lower "
            "than another worker's for long means that this worker is behind.",
            registry=self.registry,
        )
        self.authorization_lease_age = Gauge(
            "midgate_authorization_lease_age_seconds",
            "Time since the end of the authorization log was last confirmed. High (above the "
            "lease) means that nothing is delivered.",
            registry=self.registry,
        )
        self.authorization_lease = Gauge(
            "midgate_authorization_lease_seconds",
            "The lease: the age at which deciding stops. High means a longer time in which a cut "
            "off worker may decide on old rights.",
            registry=self.registry,
        )

        self.clock_offset = Gauge(
            "midgate_clock_offset_seconds",
            "This machine's clock minus the broker's, measured at the worker's last heartbeat; NaN "
            "before. High means that rights begin and expire too early here, far below zero that "
            "they do so too late: look at the time service of both machines.",
            registry=self.registry,
        )

    def _metering(self) -> None:
        registry = self.registry
        self.usage_units = Counter(
            "midgate_usage_units",
            "Units of use written by this worker, by whether they are billed and if not why; a "
            "corrected unit counts again. High is busy.",
            ["billing"],
            registry=registry,
        )
        self.metering_failures = Counter(
            "midgate_metering_failures",
            "Starts over of the metering of a partition. High means that units come late; none is "
            "lost as long as the facts are kept (audit_retention).",
            registry=registry,
        )
        self.metered_newest = Gauge(
            "midgate_metering_newest_timestamp_seconds",
            "Decision time of the newest fact metered in a partition. High (recent) is good; an "
            "old one while events are billed means that statements are behind.",
            ["partition"],
            registry=registry,
        )

    def set_lane_state(self, lane: int, state: LaneState) -> None:
        """Exactly one state of the lane is 1."""
        for each in LaneState:
            self.lane_state.labels(str(lane), each.value).set(1 if each is state else 0)

    def forget_lane(self, lane: int) -> None:
        """A lane that went to another worker must not go on showing its last value here."""
        for gauge in (
            self.router_lag,
            self.router_lag_seconds,
            self.batch_events,
            self.held_events,
        ):
            gauge.remove_by_labels({"lane": str(lane)})
        self.lane_state.remove_by_labels({"lane": str(lane)})

    def count_denials(self, withheld: Mapping[str, int], quarantined: Mapping[str, int]) -> None:
        """Add one batch's counts by reason."""
        for reason, events in withheld.items():
            self.events_withheld.labels(str(reason)).inc(events)
        for reason, events in quarantined.items():
            self.events_quarantined.labels(str(reason)).inc(events)
