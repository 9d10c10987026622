"""Passes measurements to the sink, and keeps its exceptions from callers."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from xblock_user_state.metrics.names import Metric
from xblock_user_state.metrics.sink import MetricsSink

_LOG = logging.getLogger("xblock_user_state.metrics")

WARN_SECONDS = 60.0
"""Minimum time between two log messages about a failing sink."""


@dataclass
class Reporter:
    """Passes measurements to a sink, and never raises. Threads may share it: at worst two of them warn at once."""

    sink: MetricsSink
    clock: Callable[[], float] = time.monotonic
    _warn_at: float = field(default=float("-inf"))

    def count(self, metric: Metric, value: int, *tags: str) -> None:
        """Add to a counter; `tags` are the values of its tags. Does not report a value of 0."""
        # Most counters of a call are 0, and a sink may send a packet for each.
        if value:
            self._pass_on(self.sink.count, metric, value, tags)

    def record(self, metric: Metric, value: float, *tags: str) -> None:
        """Add a value to a histogram, or set a gauge; `tags` are the values of its tags."""
        self._pass_on(self.sink.record, metric, value, tags)

    def _pass_on(self, verb: Callable[..., None], metric: Metric, value: Any, tags: tuple[str, ...]) -> None:
        try:
            verb(metric.name, value, dict(zip(metric.tags, tags, strict=True)))
        except Exception as error:  # noqa: BLE001 (a sink is the host's code; no exception of it may end a learner's call)
            self._warn(metric, error)

    def _warn(self, metric: Metric, error: Exception) -> None:
        now = self.clock()
        if now >= self._warn_at:
            self._warn_at = now + WARN_SECONDS
            _LOG.warning("metrics are lost: %s: %s: %s", metric.name, type(error).__name__, error)
