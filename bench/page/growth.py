"""The section about calls on growing tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.contenders import CORE
from bench.page import charts
from bench.page.figures import ratio, spread
from bench.page.report import Results, machine_of, table


def section(results: Mapping[str, Results]) -> str:
    """Return a table and a chart for each database."""
    parts = [machine_of(results)]
    for database, of in results.items():
        times = of["times"]
        largest, wanted = max(map(int, times)), of.get("wanted", 0)
        heads = ("call", "contender", *(f"{int(size):,} rows" for size in times), "largest ÷ smallest")
        parts += [
            f"### {database} as it grows",
            table(heads, _rows(times)),
            *([f"The disk had room for {largest:,} of {wanted:,} rows."] if largest < wanted else []),
            charts.image(_chart(database), f"times over the rows of the table on {database}"),
        ]
    return "\n\n".join(parts)


def draw(results: Mapping[str, Results]) -> None:
    """Draw the times over the number of rows."""
    for database, of in results.items():
        charts.draw_calls(_chart(database), database, "rows in the table", _lines(of["times"]).__getitem__)


def _chart(database: str) -> str:
    return f"growth-{charts.slug(database)}"


def _lines(times: Mapping[str, Any]) -> dict[str, charts.Lines]:
    return {
        operation: {name: [(int(size), of[operation][name]["median"]) for size, of in times.items()] for name in CORE}
        for operation in charts.CALLS
    }


def _rows(times: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    for operation, by_name in next(iter(times.values())).items():
        for name in by_name:
            found = [of[operation][name] for of in times.values()]
            yield operation, name, *map(spread, found), ratio(found[-1]["median"], found[0]["median"])
