"""The interface of metrics sinks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

Tags = Mapping[str, str]
"""Tag names and values. A metric always has the same names, and few values: never learners or blocks."""


class MetricsSink(Protocol):
    """Sends measurements to a system of metrics, under the names of docs/reference/metrics. Threads share one sink.

    It is made with the ``OPTIONS`` of the settings as keyword arguments; sampling, prefixes and addresses are options.
    An exception in a sink is logged, and the learner's call goes on. The call waits for the sink, so a sink must not
    block.
    """

    def count(self, name: str, value: int, tags: Tags) -> None:
        """Add to a counter."""

    def record(self, name: str, value: float, tags: Tags) -> None:
        """Add a value to a histogram, or set a gauge."""
