"""What a lane says of its failures, and to whom it points."""

import pytest
from prometheus_client import generate_latest
from structlog.testing import capture_logs

from streams.delivery import DeposedError, MissingOffsetError
from streams.errors import BrokerUnreachableError, WrongLogError
from streams.lane_report import LaneReport
from streams.metrics import LaneState, Metrics, Outcome
from streams.transactions import TransactionFailedError, TransactionRefusedError


@pytest.mark.parametrize(
    ("error", "state", "event"),
    [
        (TransactionRefusedError("gone", topic="p.tenant.acme"), LaneState.BLOCKED, "lane_blocked"),
        (MissingOffsetError("no offset"), LaneState.BLOCKED, "lane_blocked"),
        (WrongLogError("the log ends at 7"), LaneState.BLOCKED, "lane_blocked"),
        (TransactionFailedError("fenced", fenced=True), LaneState.STARTING, "lane_fenced"),
        (DeposedError("not ours"), LaneState.STARTING, "lane_not_ours_now"),
        (BrokerUnreachableError("nobody"), LaneState.STARTING, "lane_failed"),
        (RuntimeError(), LaneState.STARTING, "lane_failed"),
    ],
)
def test_a_failure_names_its_kind_and_what_needs_mending(
    error: Exception, state: LaneState, event: str
) -> None:
    with capture_logs() as logs:
        report = LaneReport(3, Metrics("1.2.3"))
        report.failed(error)
    assert report.state is state
    assert report.health.problem == (str(error) or repr(error))
    assert [line["event"] for line in logs] == [event]
    assert logs[0]["lane"] == 3
    if isinstance(error, TransactionRefusedError):
        assert logs[0]["topic"] == "p.tenant.acme"


def test_the_problem_stands_until_the_start_order_has_succeeded() -> None:
    report = LaneReport(0, Metrics("1.2.3"))
    report.failed(MissingOffsetError("no offset for p.raw-1"))
    report.starting()
    assert report.health.problem == "no offset for p.raw-1"
    report.started({0: 5}, 7)
    assert (report.state, report.health.problem) == (LaneState.RUNNING, "")


def test_a_commit_ends_a_row_of_failures() -> None:
    metrics = Metrics("1.2.3")
    report = LaneReport(0, metrics)
    report.failed(RuntimeError("one"))
    report.failed(RuntimeError("two"))
    assert report.failures == 2
    with capture_logs() as logs:
        report.committed(Outcome.COMMITTED)
        report.committed(Outcome.COMMITTED)
    assert [line["event"] for line in logs] == ["lane_recovered"]
    text = generate_latest(metrics.registry).decode()
    assert 'midgate_transactions_total{outcome="abandoned"} 2.0' in text
    assert 'midgate_transactions_total{outcome="committed"} 2.0' in text


def test_an_acknowledgement_does_not_mend_a_refused_topic() -> None:
    """Else a lane that acknowledges between two refusals would start over without a pause."""
    report = LaneReport(0, Metrics("1.2.3"))
    report.failed(TransactionRefusedError("gone", topic="p.tenant.acme"))
    report.committed(Outcome.ACKNOWLEDGED)
    assert report.failures == 1
    report.committed(Outcome.COMMITTED)
    assert report.failures == 0
