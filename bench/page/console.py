"""The section about the pages of the console."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from bench.page.figures import spread
from bench.page.report import Results, machine_of, table

HEADS = ("database", "page", "states in the course", "statements", "milliseconds")


def section(results: Mapping[str, Results]) -> str:
    """Return a table."""
    rows = [row for database, of in results.items() for row in _rows(database, of)]
    return f"{machine_of(results)}\n\n{table(HEADS, rows)}"


def slowest(results: Results) -> float:
    """Return the median time of the slowest page."""
    return max(float(page["times"]["median"]) for page in results["pages"].values())


def _rows(database: str, of: Results) -> Iterator[Sequence[str]]:
    for name, page in of["pages"].items():
        yield database, name, f"{of['states']:,}", f"{page['statements']}", spread(page["times"])
