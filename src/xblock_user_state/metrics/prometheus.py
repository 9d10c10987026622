"""Sink for Prometheus. The host serves the page of metrics. Needs the extra ``prometheus``."""

from __future__ import annotations

from threading import Lock
from weakref import WeakKeyDictionary

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from xblock_user_state.metrics.buckets import BUCKETS
from xblock_user_state.metrics.names import Metric, of_kind
from xblock_user_state.metrics.sink import Tags

__all__ = ["PrometheusSink"]

# A registry takes each name once, and changed settings make a new sink for the same registry.
_MADE: WeakKeyDictionary[CollectorRegistry, dict[str, _Collectors]] = WeakKeyDictionary()
_LOCK = Lock()


class PrometheusSink:
    """Collectors in a registry, registered when the sink is made. Names have ``_`` for ``.``."""

    def __init__(self, *, prefix: str = "", registry: CollectorRegistry = REGISTRY) -> None:
        """`prefix` is put before each name, joined by ``_``."""
        with _LOCK:
            by_prefix = _MADE.setdefault(registry, {})
            if prefix not in by_prefix:
                by_prefix[prefix] = _Collectors(prefix, registry)
            self._collectors = by_prefix[prefix]

    def count(self, name: str, value: int, tags: Tags) -> None:
        """Add to a counter."""
        counter = self._collectors.counters[name]
        # A collector without labels takes values itself.
        (counter.labels(**tags) if tags else counter).inc(value)

    def record(self, name: str, value: float, tags: Tags) -> None:
        """Add to a histogram, or set a gauge."""
        if name in self._collectors.gauges:
            gauge = self._collectors.gauges[name]
            (gauge.labels(**tags) if tags else gauge).set(value)
        else:
            histogram = self._collectors.histograms[name]
            (histogram.labels(**tags) if tags else histogram).observe(value)


class _Collectors:
    """The collectors of one registry, by metric name."""

    def __init__(self, prefix: str, registry: CollectorRegistry) -> None:
        self.counters = {
            metric.name: Counter(*_naming(metric), prefix, registry=registry) for metric in of_kind("counter")
        }
        # Gauges describe the outbox, which all processes share: the newest value of any process is right.
        self.gauges = {
            metric.name: Gauge(*_naming(metric), prefix, registry=registry, multiprocess_mode="mostrecent")
            for metric in of_kind("gauge")
        }
        self.histograms = {
            metric.name: Histogram(*_naming(metric), prefix, registry=registry, buckets=BUCKETS[metric.unit])
            for metric in of_kind("histogram")
        }


def _naming(metric: Metric) -> tuple[str, str, tuple[str, ...]]:
    return metric.name.replace(".", "_"), f"{metric.name}, in {metric.unit}", metric.tags
