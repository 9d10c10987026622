"""OpenTelemetry: its API, its SDK, and the reader that keeps metrics in memory."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from xblock_user_state.metrics.names import METRICS
from xblock_user_state.metrics.opentelemetry import OpenTelemetrySink

LOST_RACES = "DjangoXBlockUserStateClient.transaction.lost_races"
RESPONSE_TIME = "DjangoXBlockUserStateClient.get_many.response_time"
DEPTH = "DjangoXBlockUserStateClient.outbox.depth"


@pytest.fixture
def reader() -> InMemoryMetricReader:
    return InMemoryMetricReader()


@pytest.fixture
def provider(reader: InMemoryMetricReader) -> MeterProvider:
    return MeterProvider(metric_readers=[reader], shutdown_on_exit=False)


def collected(reader: InMemoryMetricReader) -> dict[str, Any]:
    data = reader.get_metrics_data()
    assert data is not None
    [resource] = data.resource_metrics
    [scope] = resource.scope_metrics
    assert scope.scope.name == "xblock_user_state"
    return {metric.name: metric for metric in scope.metrics}


def as_shown(metric: str) -> str:
    """Return the name as the SDK for Python shows it, in lower case: names of instruments ignore case."""
    return metric.lower()


def test_counters_histograms_and_gauges(reader: InMemoryMetricReader, provider: MeterProvider) -> None:
    sink = OpenTelemetrySink(meter_provider=provider)
    for number in (1, 2):
        sink.count(LOST_RACES, number, {"cause": "revision"})
        sink.record(RESPONSE_TIME, number, {"scope": "user_state"})
        sink.record(DEPTH, number, {})
    found = collected(reader)
    [races] = found[as_shown(LOST_RACES)].data.data_points
    assert (races.value, dict(races.attributes)) == (3, {"cause": "revision"})
    [time] = found[as_shown(RESPONSE_TIME)].data.data_points
    assert (time.sum, time.count, dict(time.attributes)) == (3, 2, {"scope": "user_state"})
    assert 0.25 in time.explicit_bounds
    [depth] = found[as_shown(DEPTH)].data.data_points
    assert depth.value == 2


def test_every_metric_is_taken_with_its_unit(reader: InMemoryMetricReader, provider: MeterProvider) -> None:
    sink = OpenTelemetrySink(meter_provider=provider, prefix="campus.")
    for metric in METRICS.values():
        tags = dict.fromkeys(metric.tags, "some")
        if metric.kind == "counter":
            sink.count(metric.name, 1, tags)
        else:
            sink.record(metric.name, 1, tags)
    found = collected(reader)
    assert found.keys() == {as_shown(f"campus.{name}") for name in METRICS}
    units = {name: found[as_shown(f"campus.{name}")].unit for name in METRICS}
    assert (units[RESPONSE_TIME], units[DEPTH]) == ("ms", "{entries}")
    assert units["DjangoXBlockUserStateClient.write.state_bytes"] == "By"


def test_without_an_sdk_nothing_happens() -> None:
    sink = OpenTelemetrySink()
    sink.count(LOST_RACES, 1, {"cause": "revision"})
    sink.record(DEPTH, 1, {})
