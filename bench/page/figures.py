"""Medians, spreads, percentiles and ratios of measured times, and their notation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median, quantiles
from typing import Any, TypedDict

MISSING = "–"


class Times(TypedDict):
    """Times in milliseconds: the median, the lower and the upper quartile, and the number of samples."""

    median: float
    low: float
    high: float
    count: int


def summary(milliseconds: Sequence[float]) -> Times:
    """Summarize one or more times."""
    low, _, high = quantiles(milliseconds, n=4, method="inclusive") if len(milliseconds) > 1 else [*milliseconds] * 3
    return {"median": median(milliseconds), "low": low, "high": high, "count": len(milliseconds)}


def summaries(samples: Mapping[str, Mapping[str, Sequence[float]]]) -> dict[str, dict[str, Times]]:
    """Summarize the times of each operation and contender."""
    return {operation: {name: summary(of) for name, of in by_name.items()} for operation, by_name in samples.items()}


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the smallest value that is not exceeded by `percent` percent of the values."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def share(nanoseconds: float, call: Mapping[str, float]) -> float:
    """Return the share of a call's time, from 0 to 1, that its lookups of the metrics setting take."""
    return nanoseconds * call["looks"] / (call["milliseconds"] * 1e6)


def ratio(one: Any, other: Any) -> str:
    """Write `one` divided by `other`; a dash if either was not measured."""
    if not one or not other:
        return MISSING
    times = one / other
    return f"{times:.0f}" if times >= 20 else f"{times:.1f}" if times >= 3 else f"{times:.2f}"


def milliseconds(value: float | None) -> str:
    """Write a time with three digits; a dash if it was not measured."""
    if value is None:
        return MISSING
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def spread(times: Times | None) -> str:
    """Write the median and the quartiles."""
    if times is None:
        return MISSING
    return f"{milliseconds(times['median'])} ({milliseconds(times['low'])}–{milliseconds(times['high'])})"
