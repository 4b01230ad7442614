"""What `/live` and `/ready` answer, and the pages themselves.

Live means: the worker makes progress by itself, so a restart would not help. Ready means: every
lane it owns delivers. A worker without a lane (more workers than lanes) is ready: it stands by.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from faust.web import Request, Response, View
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from streams.metrics import LaneState, Metrics

# A lane takes a step at least every second; a start order and a commit are bounded by the request
# time-outs of a few tens of seconds. Twice the longest of them without a step is a hang.
STALL_S_MAX = 120.0


@dataclass(slots=True)
class LaneHealth:
    """One lane as its own task last left it; times are of the monotonic clock."""

    state: LaneState = LaneState.STARTING
    problem: str = ""
    stepped_at: float = field(default_factory=time.monotonic)


@dataclass(slots=True)
class WorkerHealth:
    """Everything the pages need, taken at one moment."""

    lanes: dict[int, LaneHealth] = field(default_factory=dict)
    joined: bool = False
    problem: str | None = None
    log_id: str = ""
    version: int = 0
    lease_age_s: float = float("inf")
    lease_s_max: float = 0.0
    clock_offset_s: float = float("nan")


def readiness(health: WorkerHealth) -> dict[str, Any]:
    """The body of `/ready`: `ready`, and every reason why not in words an operator can act on."""
    reasons: list[str] = []
    if health.problem:
        reasons.append(health.problem)
    elif health.lease_age_s == float("inf"):
        reasons.append("the authorization log has not been read to its end yet")
    elif health.lease_age_s > health.lease_s_max:
        reasons.append(
            f"the end of the authorization log was not confirmed for {health.lease_age_s:.1f} s "
            f"(lease {health.lease_s_max:.1f} s): nothing is delivered"
        )
    if not health.joined:
        reasons.append("the router has not been given its lanes yet")
    for number, lane in sorted(health.lanes.items()):
        if lane.state is not LaneState.RUNNING:
            detail = f": {lane.problem}" if lane.problem else ""
            reasons.append(f"lane {number} is {lane.state.value}{detail}")
    return {
        "ready": not reasons,
        "reasons": reasons,
        "authorization": {
            "log_id": health.log_id,
            "version": health.version,
            "lease_age_s": round(health.lease_age_s, 3) if health.lease_age_s < 1e9 else None,
            "lease_s_max": health.lease_s_max,
        },
        "lanes": {
            str(number): {"state": lane.state.value, "problem": lane.problem}
            for number, lane in sorted(health.lanes.items())
        },
    }


def liveness(health: WorkerHealth, now: float) -> dict[str, Any]:
    """The body of `/live`: false when a lane has not taken a step for `STALL_S_MAX`."""
    stuck = [
        f"lane {number} has not taken a step for {now - lane.stepped_at:.0f} s"
        for number, lane in sorted(health.lanes.items())
        if now - lane.stepped_at > STALL_S_MAX
    ]
    return {"live": not stuck, "reasons": stuck}


def add_pages(app: Any, metrics: Metrics, look: Callable[[], WorkerHealth]) -> None:
    """Put `/metrics`, `/live` and `/ready` on the Faust app's web server."""

    @app.page("/metrics", name="midgate-metrics")  # type: ignore[untyped-decorator]
    async def metrics_page(view: View, request: Request) -> Response:
        health = look()
        metrics.authorization_version.set(health.version)
        metrics.authorization_lease_age.set(health.lease_age_s)
        metrics.authorization_lease.set(health.lease_s_max)
        metrics.clock_offset.set(health.clock_offset_s)
        return view.bytes(
            generate_latest(metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )

    @app.page("/live", name="midgate-live")  # type: ignore[untyped-decorator]
    async def live_page(view: View, request: Request) -> Response:
        body = liveness(look(), time.monotonic())
        return view.json(body, status=200 if body["live"] else 503)

    @app.page("/ready", name="midgate-ready")  # type: ignore[untyped-decorator]
    async def ready_page(view: View, request: Request) -> Response:
        body = readiness(look())
        return view.json(body, status=200 if body["ready"] else 503)
