"""The section about where the time of a call goes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from bench.page.figures import milliseconds
from bench.page.report import Results, machine_of, table


def section(results: Mapping[str, Results]) -> str:
    """Return a table."""
    heads = ("database", "call", "blocks or entries", "ms", *(f"{part} %" for part in _parts(results)))
    rows = [row for database, of in results.items() for row in _rows(database, of)]
    return f"{machine_of(results)}\n\n{table(heads, rows)}"


def _parts(results: Mapping[str, Results]) -> Sequence[str]:
    by_size = next(iter(next(iter(results.values()))["calls"].values()))
    return [*next(iter(by_size.values()))["shares"]]


def _rows(database: str, of: Results) -> Iterator[Sequence[str]]:
    for operation, by_size in of["calls"].items():
        for size, call in by_size.items():
            shares = (f"{100 * share:.0f}" for share in call["shares"].values())
            yield database, operation, f"{int(size):,}", milliseconds(call["milliseconds"]), *shares
