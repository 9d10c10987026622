"""The section about iterations over a course and a block."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.contenders import CORE, RAW
from bench.page.figures import ratio
from bench.page.report import Results, machine_of, table

HEADS = ("database", "contender", "rows", "of a", "seconds", "µs a row", "÷ raw", "MB at the start", "MB at the peak")


def section(results: Mapping[str, Results]) -> str:
    """Return a table."""
    rows = [row for database, of in results.items() for row in _rows(database, of["courses"])]
    return f"{machine_of(results)}\n\n{table(HEADS, rows)}"


def seconds_a_row(one: Mapping[str, float]) -> float:
    """Return the time of an iteration for each of its rows."""
    return one["seconds"] / one["rows"]


def _rows(database: str, courses: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    for by_scope in courses.values():
        for scope, by_name in by_scope.items():
            for name in CORE:
                one = by_name[name]
                yield (
                    database,
                    name,
                    f"{one['rows']:,.0f}",
                    scope,
                    f"{one['seconds']:.2f}",
                    f"{seconds_a_row(one) * 1e6:.1f}",
                    ratio(seconds_a_row(one), seconds_a_row(by_name[RAW])),
                    f"{one['before']:.0f}",
                    f"{one['peak']:.0f}",
                )
