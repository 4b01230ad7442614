"""Names and helps of the metrics, and the batch histogram against prometheus-client's own."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from streams.metrics import LaneState, LatencyHistogram, Metrics

NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


def families(metrics: Metrics) -> dict[str, str]:
    text = generate_latest(metrics.registry).decode()
    found = text_string_to_metric_families(text)
    return {each.name: each.documentation for each in found if not each.name.startswith("process_")}


def test_names_are_plain_and_helps_say_what_a_high_value_means() -> None:
    """Dotted or doubled names pass prometheus-client without a word, so they are checked here."""
    found = families(Metrics("1.2.3"))
    assert len(found) > 15
    for name, documentation in found.items():
        assert NAME.fullmatch(name), name
        assert name.startswith("midgate_")
        assert not name.endswith("_created")
        if name != "midgate_build_info":
            assert re.search(r"\b[hH]igh|lower than|Many|grow", documentation), name


def test_the_names_that_dashboards_rest_on_are_there() -> None:
    found = set(families(Metrics("1.2.3")))
    assert found >= {
        "midgate_events_routed",
        "midgate_events_withheld",
        "midgate_events_quarantined",
        "midgate_deliveries",
        "midgate_transactions",
        "midgate_commit_duration_seconds",
        "midgate_event_latency_seconds",
        "midgate_router_lag_events",
        "midgate_authorization_version",
        "midgate_authorization_lease_age_seconds",
        "midgate_lane_state",
        "midgate_build_info",
    }


def test_nothing_carries_a_tenant_or_a_number_of_a_piece() -> None:
    metrics = Metrics("1.2.3")
    metrics.count_denials({"no_grant": 2}, {"check_digit": 1})
    metrics.set_lane_state(0, LaneState.RUNNING)
    text = generate_latest(metrics.registry).decode()
    labels = {
        label
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        for label in sample.labels
    }
    assert labels <= {"reason", "lane", "state", "outcome", "le", "version", "core"}
    assert 'midgate_events_withheld_total{reason="no_grant"} 2.0' in text


def test_a_lane_is_in_one_state_and_leaves_nothing_behind() -> None:
    metrics = Metrics("1.2.3")
    metrics.set_lane_state(1, LaneState.STARTING)
    metrics.set_lane_state(1, LaneState.BLOCKED)
    text = generate_latest(metrics.registry).decode()
    assert 'midgate_lane_state{lane="1",state="blocked"} 1.0' in text
    assert 'midgate_lane_state{lane="1",state="starting"} 0.0' in text
    metrics.forget_lane(1)
    assert "midgate_lane_state{" not in generate_latest(metrics.registry).decode()


@given(st.lists(st.integers(0, 1_200_000), max_size=50))
def test_the_batch_histogram_counts_like_the_ordinary_one(ages_ms: list[int]) -> None:
    registry = CollectorRegistry()
    bounds = (0.05, 1.0, 900.0)
    batch = LatencyHistogram("batch_seconds", "High is slow.", bounds)
    registry.register(batch)
    single = Histogram("single_seconds", "High is slow.", buckets=bounds, registry=registry)
    batch.observe_since([5_000_000 - age for age in ages_ms], 5_000_000)
    for age in ages_ms:
        single.observe(age / 1000)
    text = generate_latest(registry).decode()
    values: dict[str, dict[str, float]] = {"batch": {}, "single": {}}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            which, _, rest = sample.name.partition("_")
            if not rest.endswith("created"):
                values[which][rest + sample.labels.get("le", "")] = sample.value
    assert values["batch"] == pytest.approx(values["single"])
