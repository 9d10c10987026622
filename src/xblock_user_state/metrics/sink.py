"""The seam to systems of metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

Tags = Mapping[str, str]
"""Of a metric always the same names, each with a handful of values: never users or blocks."""


class MetricsSink(Protocol):
    """Takes measurements, under the names of docs/reference/metrics. Shared by threads.

    Made with the ``OPTIONS`` of the settings as keyword arguments. Sampling, prefixes and addresses are its own matter.
    What it raises is logged and goes no further; but a caller waits for it, so it should wait for nobody.
    """

    def count(self, name: str, value: int, tags: Tags) -> None:
        """Add to a counter."""

    def record(self, name: str, value: float, tags: Tags) -> None:
        """Take one value of a distribution, or the newest one of a level."""
