"""Sink for OpenTelemetry. The host sets up the SDK. Needs the extra ``opentelemetry``."""

from __future__ import annotations

from opentelemetry.metrics import MeterProvider, get_meter

from xblock_user_state.metrics.buckets import BUCKETS
from xblock_user_state.metrics.names import Metric, of_kind
from xblock_user_state.metrics.sink import Tags

__all__ = ["OpenTelemetrySink"]

_UNITS = {"ms": "ms", "s": "s", "bytes": "By"}


class OpenTelemetrySink:
    """Instruments of the meter ``xblock_user_state``. Without an SDK their measurements are dropped."""

    def __init__(self, *, prefix: str = "", meter_provider: MeterProvider | None = None) -> None:
        """`prefix` is put before each name. `meter_provider` defaults to the global provider of the process."""
        meter = get_meter("xblock_user_state", meter_provider=meter_provider)
        self._counters = {
            metric.name: meter.create_counter(prefix + metric.name, _unit(metric)) for metric in of_kind("counter")
        }
        self._gauges = {
            metric.name: meter.create_gauge(prefix + metric.name, _unit(metric)) for metric in of_kind("gauge")
        }
        self._histograms = {
            metric.name: meter.create_histogram(
                prefix + metric.name, _unit(metric), explicit_bucket_boundaries_advisory=BUCKETS[metric.unit]
            )
            for metric in of_kind("histogram")
        }

    def count(self, name: str, value: int, tags: Tags) -> None:
        """Add to a counter."""
        self._counters[name].add(value, tags)

    def record(self, name: str, value: float, tags: Tags) -> None:
        """Add to a histogram, or set a gauge."""
        if name in self._gauges:
            self._gauges[name].set(value, tags)
        else:
            self._histograms[name].record(value, tags)


def _unit(metric: Metric) -> str:
    """Return the unit in OpenTelemetry's notation (UCUM): braces around names of things that are counted."""
    return _UNITS.get(metric.unit, f"{{{metric.unit}}}")
