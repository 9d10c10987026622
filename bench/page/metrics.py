"""The section about the price of disabled metrics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from bench.page.figures import milliseconds, share
from bench.page.report import Results, machine_of, table

HEADS = ("database", "call of 1 block", "contender", "milliseconds", "lookups of the setting", "ns a lookup", "share")


def section(results: Mapping[str, Results]) -> str:
    """Return a table."""
    rows = [row for database, of in results.items() for row in _rows(database, of)]
    return f"{machine_of(results)}\n\n{table(HEADS, rows)}"


def _rows(database: str, of: Results) -> Iterator[Sequence[str]]:
    for name, calls in of["calls"].items():
        for operation, call in calls.items():
            looks, look = f"{call['looks']}", f"{of['look']:.0f}"
            part = f"{share(of['look'], call):.2%}"
            yield database, operation, name, milliseconds(call["milliseconds"]), looks, look, part
