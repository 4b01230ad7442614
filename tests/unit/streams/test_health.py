"""What the health pages say, and to whom the log speaks."""

import io
import json
import logging
import logging.config

import pytest

from streams.health import STALL_S_MAX, LaneHealth, WorkerHealth, liveness, readiness
from streams.logs import configure, get_logger, logging_config
from streams.metrics import LaneState
from streams.settings import WebSettings


def healthy(**changes: object) -> WorkerHealth:
    fields: dict[str, object] = {
        "lanes": {0: LaneHealth(LaneState.RUNNING)},
        "joined": True,
        "log_id": "id",
        "version": 7,
        "lease_age_s": 0.2,
        "lease_s_max": 5.0,
    }
    return WorkerHealth(**{**fields, **changes})  # type: ignore[arg-type]


def test_a_worker_whose_lanes_deliver_is_ready() -> None:
    body = readiness(healthy())
    assert body["ready"]
    assert body["reasons"] == []
    assert body["authorization"]["version"] == 7


def test_a_worker_without_lanes_stands_by_and_is_ready() -> None:
    assert readiness(healthy(lanes={}))["ready"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"joined": False}, "not been given its lanes"),
        ({"lease_age_s": 6.0}, "nothing is delivered"),
        ({"problem": "held up by producer 17"}, "held up by producer 17"),
        (
            {"lanes": {1: LaneHealth(LaneState.BLOCKED, "tenant topic t.acme is gone")}},
            "lane 1 is blocked: tenant topic t.acme is gone",
        ),
        ({"lanes": {0: LaneHealth(LaneState.NO_LEASE)}}, "lane 0 is no_lease"),
    ],
)
def test_every_reason_for_not_being_ready_is_named(changes: dict[str, object], words: str) -> None:
    body = readiness(healthy(**changes))
    assert not body["ready"]
    assert any(words in reason for reason in body["reasons"])


def test_before_the_first_confirmation_the_age_is_unknown_not_infinite() -> None:
    """JSON has no infinity."""
    body = readiness(healthy(lease_age_s=float("inf")))
    assert body["authorization"]["lease_age_s"] is None
    json.dumps(body, allow_nan=False)


def test_live_is_about_steps_not_about_dependencies() -> None:
    blocked = healthy(lanes={0: LaneHealth(LaneState.BLOCKED, "no broker", stepped_at=1000.0)})
    assert liveness(blocked, now=1001.0)["live"]
    stuck = liveness(blocked, now=1001.0 + STALL_S_MAX)
    assert not stuck["live"]
    assert "lane 0" in stuck["reasons"][0]


def test_a_json_log_line_is_one_object_with_fields() -> None:
    config = logging_config(WebSettings(log_format="json"))
    logging.config.dictConfig(config)
    configure()
    stream = io.StringIO()
    root = logging.getLogger()
    before = list(root.handlers)
    try:
        for handler in root.handlers:
            if isinstance(handler, logging.StreamHandler):
                handler.setStream(stream)
        get_logger("streams.lane").info("lane_started", lane=1, version=7)
        logging.getLogger("somebody.else").warning("plain %s", "words")
    finally:
        for handler in before:
            root.removeHandler(handler)
    ours, theirs = (json.loads(line) for line in stream.getvalue().splitlines())
    assert ours["event"] == "lane_started"
    assert (ours["lane"], ours["version"], ours["level"]) == (1, 7, "info")
    assert theirs["event"] == "plain words"
