"""The section about calls through a slow network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.contenders import ALL, OURS, RAW, REFERENCE
from bench.page import charts
from bench.page.figures import ratio, spread
from bench.page.report import Results, machine_of, table


def section(results: Mapping[str, Results]) -> str:
    """Return a table and a chart for each database."""
    parts = [machine_of(results)]
    for database, of in results.items():
        delays = of["delays"]
        parts += [
            f"### {database} at a distance",
            table(("call", "contender", *(f"{float(delay):g} ms" for delay in delays)), _rows(delays)),
            charts.image(_chart(database), f"times over the delay of the network on {database}"),
        ]
    return "\n\n".join(parts)


def draw(results: Mapping[str, Results]) -> None:
    """Draw the times over the delay."""
    for database, of in results.items():
        lines = _lines(of["delays"])
        charts.draw_calls(_chart(database), database, "added round-trip time, ms", lines.__getitem__, "linear")


def _chart(database: str) -> str:
    return f"latency-{charts.slug(database)}"


def _lines(delays: Mapping[str, Any]) -> dict[str, charts.Lines]:
    return {
        operation: {
            name: [(float(delay), of["times"][operation][name]["median"]) for delay, of in delays.items()]
            for name in by_name
        }
        for operation, by_name in next(iter(delays.values()))["times"].items()
    }


def _rows(delays: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    yield "measured delay, ms", "", *(f"{of['added']:.2f}" for of in delays.values())
    for operation in next(iter(delays.values()))["times"]:
        times = [of["times"][operation] for of in delays.values()]
        for one, other in ((OURS, RAW), (REFERENCE, OURS)):
            yield operation, f"{one} ÷ {other}", *(ratio(of[one]["median"], of[other]["median"]) for of in times)
        for name in ALL:
            if name in times[0]:
                yield operation, name, *(spread(of[name]) for of in times)
