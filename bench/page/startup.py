"""The section about the start of a process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.page.figures import MISSING, ratio, spread
from bench.page.report import Results, machine_of, table

ALONE, BEFORE, NOW = "Django and XBlock alone", "the build before", "ours"

HEADS = (
    *("database", "process", "ms of processor time", "of the quickest start", "ms beyond Django and XBlock"),
    "÷ the build before",
)


def section(results: Mapping[str, Results]) -> str:
    """Return a table."""
    rows = [row for database, of in results.items() for row in _rows(database, of["times"])]
    return f"{machine_of(results)}\n\n{table(HEADS, rows)}"


def beyond(times: Mapping[str, Any], name: str) -> float:
    """Return the milliseconds that a process takes beyond Django and XBlock. Raises ``KeyError`` if not measured.

    Of the quickest starts: a start loads the same code each time, and the machine can only make it slower.
    """
    return float(times[name]["least"] - times[ALONE]["least"])


def _rows(database: str, times: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    for name, each in times.items():
        own = beyond(times, name)
        compared = ratio(own, beyond(times, BEFORE)) if BEFORE in times else MISSING
        own_part = ("", "") if name == ALONE else (f"{own:.0f}", compared)
        yield database, name, spread(each), f"{each['least']:.0f}", *own_part
