"""The section about the commands that read or move the whole history."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from bench.page.figures import ratio
from bench.page.report import Results, machine_of, table

HEADS = (
    *("database", "job", "rows", "entries", "seconds", "of its processor", "entries a second", "raw ÷ it"),
    *("statements", "MB at the start", "MB at the peak"),
)


def section(results: Mapping[str, Results]) -> str:
    """Return a table."""
    rows = [row for database, of in results.items() for row in _rows(database, of)]
    return f"{machine_of(results)}\n\n{table(HEADS, rows)}"


def rate(one: Mapping[str, float]) -> float:
    """Return the entries that a job reads or moves in a second."""
    return one["entries"] / one["seconds"]


def _rows(database: str, of: Results) -> Iterator[Sequence[str]]:
    jobs = of["jobs"]
    for name, one in [*jobs.items(), *((f"{name}, the build before", one) for name, one in of["before"].items())]:
        yield (
            database,
            name,
            f"{one['rows']:,.0f}",
            f"{one['entries']:,.0f}",
            f"{one['seconds']:.1f}",
            f"{one['processor']:.1f}",
            f"{rate(one):,.0f}",
            ratio(rate(jobs["raw"]), rate(one)),
            f"{one['statements']:,.0f}",
            f"{one['before']:.0f}",
            f"{one['peak']:.0f}",
        )
