"""Keeps a sink's trouble from callers."""

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
"""A failure is logged once in so long."""


@dataclass
class Reporter:
    """Hands measurements to a sink, and never raises. May be shared by threads: at worst two of them warn at once."""

    sink: MetricsSink
    clock: Callable[[], float] = time.monotonic
    _warn_at: float = field(default=float("-inf"))

    def count(self, metric: Metric, value: int, *tags: str) -> None:
        """Add to a counter; `tags` are the values of its tags. Adding nothing is not reported."""
        if value:
            self._pass_on(self.sink.count, metric, value, tags)

    def record(self, metric: Metric, value: float, *tags: str) -> None:
        """Report one value; `tags` are the values of its tags."""
        self._pass_on(self.sink.record, metric, value, tags)

    def _pass_on(self, verb: Callable[..., None], metric: Metric, value: Any, tags: tuple[str, ...]) -> None:
        try:
            verb(metric.name, value, dict(zip(metric.tags, tags, strict=True)))
        except Exception as error:  # noqa: BLE001 (whatever a sink raises, learners' calls go on)
            self._warn(metric, error)

    def _warn(self, metric: Metric, error: Exception) -> None:
        now = self.clock()
        if now >= self._warn_at:
            self._warn_at = now + WARN_SECONDS
            _LOG.warning("metrics are lost: %s: %s: %s", metric.name, type(error).__name__, error)
