"""The section about processes that vote in one poll."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from bench.page.figures import milliseconds, ratio
from bench.page.report import Results, machine_of, table

GUARDED, UNGUARDED = "guarded", "unguarded"

HEADS = (
    "database",
    "unit of work",
    "processes",
    "votes a second",
    "÷ unguarded",
    "p50 ms",
    "p99 ms",
    "votes cast",
    "votes counted",
)


def section(results: Mapping[str, Results]) -> str:
    """Return a table."""
    rows = [row for database, of in results.items() for row in _rows(database, of)]
    return f"{machine_of(results)}\n\n{table(HEADS, rows)}"


def _rows(database: str, of: Results) -> Iterator[Sequence[str]]:
    for number, by_name in of["votes"].items():
        for name in (GUARDED, UNGUARDED):
            one = by_name[name]
            times = milliseconds(one["p50"]), milliseconds(one["p99"])
            rate = f"{one['rate']:,.0f}", ratio(one["rate"], by_name[UNGUARDED]["rate"])
            yield database, name, number, *rate, *times, f"{one['cast']:,}", f"{one['counted']:,}"
