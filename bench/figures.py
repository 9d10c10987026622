"""What is made of measured times: medians, spreads, percentiles, ratios, and how they are written."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median, quantiles
from typing import Any, TypedDict


class Times(TypedDict):
    """A summary of times in milliseconds: the median, and the quarters that lie below and above."""

    median: float
    low: float
    high: float
    count: int


def summary(milliseconds: Sequence[float]) -> Times:
    """Return the summary of one or more times."""
    low, _, high = quantiles(milliseconds, n=4, method="inclusive") if len(milliseconds) > 1 else [*milliseconds] * 3
    return {"median": median(milliseconds), "low": low, "high": high, "count": len(milliseconds)}


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the value that so many percent of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def ratio(one: Any, other: Any) -> str:
    """Return how many times `other` the number `one` is; a dash where one of them was not measured."""
    if not one or not other:
        return "–"
    times = one / other
    return f"{times:.0f}" if times >= 20 else f"{times:.1f}" if times >= 3 else f"{times:.2f}"


def milliseconds(value: float | None) -> str:
    """Return a time with three digits; a dash where it was not measured."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def spread(times: Times | None) -> str:
    """Return the median, and where the middle half of the times lies."""
    if times is None:
        return "–"
    return f"{milliseconds(times['median'])} ({milliseconds(times['low'])}–{milliseconds(times['high'])})"
