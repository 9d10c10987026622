"""The section about the import of an old site."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.contenders import RAW, REFERENCE
from bench.page.figures import MISSING, ratio
from bench.page.report import Results, machine_of, table

HEADS = (
    *("database", "contender", "history rows", "seconds", "of its processor", "rows a second", "raw ÷ it"),
    *("it ÷ reference", "MB at the start", "MB at the peak"),
)


def section(results: Mapping[str, Results]) -> str:
    """Return a table."""
    rows = [row for database, of in results.items() for row in _rows(database, of["sites"])]
    return f"{machine_of(results)}\n\n{table(HEADS, rows)}"


def rate(one: Mapping[str, float]) -> float:
    """Return the history rows that were taken over in a second."""
    return one["rows"] / one["seconds"]


def _rows(database: str, sites: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    for by_name in sites.values():
        for name, one in by_name.items():
            reference = by_name.get(REFERENCE)
            yield (
                database,
                name,
                f"{one['rows']:,.0f}",
                f"{one['seconds']:.1f}",
                f"{one['processor']:.1f}",
                f"{rate(one):,.0f}",
                ratio(rate(by_name[RAW]), rate(one)),
                ratio(rate(one), rate(reference)) if reference else MISSING,
                f"{one['before']:.0f}",
                f"{one['peak']:.0f}",
            )
