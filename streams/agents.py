"""Faust agents: what is not on the hot path.

The quarantine watch counts what lies in quarantine and how old it is. It is at-least-once: after
a crash it may count some records again, which moves a dashboard and nothing else. A worker
without any agent never becomes ready, so there is always this one.
"""

from typing import Any

from schemas.reasons import QuarantineReason
from streams.metrics import Metrics

REASON_HEADER = "mg-reason"
UNKNOWN_REASON = "unknown"
_REASONS = frozenset(reason.value for reason in QuarantineReason)


def quarantine_reason(headers: Any) -> str:
    """The reason in a record's headers, from the closed vocabulary; else `unknown`.

    A header is whatever somebody wrote: taken as a label unchecked, it could make a series for
    each record.
    """
    pairs = headers.items() if isinstance(headers, dict) else headers or ()
    for name, value in reversed(list(pairs)):
        if name == REASON_HEADER:
            text = bytes(value or b"").decode("ascii", "replace")
            return text if text in _REASONS else UNKNOWN_REASON
    return UNKNOWN_REASON


class QuarantineWatch:
    """Counts and age by reason, kept in the worker's metrics."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._oldest: dict[str, float] = {}
        self._newest: dict[str, float] = {}

    def see(self, headers: Any, timestamp_s: float) -> None:
        """Count one record; `timestamp_s` is its receipt time."""
        reason = quarantine_reason(headers)
        self._metrics.quarantine_seen.labels(reason).inc()
        self._oldest[reason] = min(timestamp_s, self._oldest.get(reason, timestamp_s))
        self._newest[reason] = max(timestamp_s, self._newest.get(reason, timestamp_s))
        self._metrics.quarantine_oldest.labels(reason).set(self._oldest[reason])
        self._metrics.quarantine_newest.labels(reason).set(self._newest[reason])


def add_quarantine_watch(app: Any, topic_name: str, metrics: Metrics) -> None:
    """Register the agent; the topic must exist, it is never declared from here."""
    topic = app.topic(
        topic_name,
        key_type=bytes,
        value_type=bytes,
        key_serializer="raw",
        value_serializer="raw",
        internal=False,
    )
    watch = QuarantineWatch(metrics)

    @app.agent(topic, name="quarantine-watch")  # type: ignore[untyped-decorator]
    async def quarantine_watch(stream: Any) -> None:
        async for event in stream.events():
            watch.see(event.message.headers, event.message.timestamp)
