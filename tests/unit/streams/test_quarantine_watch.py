"""What the quarantine watch makes of a record's headers."""

from prometheus_client import generate_latest

from streams.agents import QuarantineWatch, quarantine_reason
from streams.metrics import Metrics


def test_the_last_reason_counts_as_a_redriven_record_may_carry_two() -> None:
    headers = (("mg-reason", b"check_digit"), ("other", b"x"), ("mg-reason", b"mid_rule"))
    assert quarantine_reason(headers) == "mid_rule"
    assert quarantine_reason({"mg-reason": b"mid_rule"}) == "mid_rule"


def test_whatever_somebody_wrote_makes_no_series_of_its_own() -> None:
    for headers in (None, (), (("mg-reason", b"\xff\x00made up"),), (("mg-reason", None),)):
        assert quarantine_reason(headers) == "unknown"


def test_count_and_age_by_reason() -> None:
    metrics = Metrics("1.2.3")
    watch = QuarantineWatch(metrics)
    for timestamp_s in (200.0, 100.0, 300.0):
        watch.see((("mg-reason", b"check_digit"),), timestamp_s)
    text = generate_latest(metrics.registry).decode()
    assert 'midgate_quarantine_seen_total{reason="check_digit"} 3.0' in text
    assert 'midgate_quarantine_oldest_timestamp_seconds{reason="check_digit"} 100.0' in text
    assert 'midgate_quarantine_newest_timestamp_seconds{reason="check_digit"} 300.0' in text
