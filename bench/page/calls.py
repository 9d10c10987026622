"""The section about single calls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.contenders import ALL, OURS, OURS_WARM, RAW, RAW_WARM, REFERENCE
from bench.page import charts
from bench.page.figures import ratio, spread
from bench.page.report import Results, machine_of, table

RATIOS = ((OURS, RAW), (OURS_WARM, RAW_WARM), (REFERENCE, OURS), (REFERENCE, OURS_WARM))


def section(results: Mapping[str, Results]) -> str:
    """Return ratios, times and round trips for each database."""
    parts = [machine_of(results)]
    for database, of in results.items():
        times, history = of["times"], of["history"]
        parts += [
            f"### {database}",
            table(("ratio", "call", *_sizes(times)), _ratios(times)),
            charts.image(_chart(database), f"times of updates and reads on {database}"),
            "Milliseconds: the median, and the quartiles in parentheses.",
            table(("call", "contender", *_sizes(times)), _rows(times)),
            table(("call", "contender", *_entries(history)), _rows({"get_history": history})),
            "Round trips of a connected and warm client:",
            table(("call", "contender", *_sizes(of["round_trips"])), _counts(of["round_trips"])),
        ]
    return "\n\n".join(parts)


def draw(results: Mapping[str, Results]) -> None:
    """Draw the times of updates and reads over the number of blocks."""
    for database, of in results.items():
        charts.draw_calls(_chart(database), database, "blocks in one call", _lines(of["times"]).__getitem__)


def _chart(database: str) -> str:
    return f"calls-{charts.slug(database)}"


def _lines(times: Mapping[str, Any]) -> dict[str, charts.Lines]:
    return {
        operation: {
            name: [(int(size), of[name]["median"]) for size, of in by_size.items() if name in of]
            for name in _names(by_size)
        }
        for operation, by_size in times.items()
    }


def _sizes(times: Mapping[str, Any]) -> list[str]:
    sizes = list(next(iter(times.values())))
    return [f"{int(size):,} block{'s' if int(size) > 1 else ''}" for size in sizes]


def _entries(history: Mapping[str, Any]) -> list[str]:
    return [f"{size} entr{'ies' if int(size) > 1 else 'y'}" for size in history]


def _names(by_size: Mapping[str, Any]) -> list[str]:
    """Return the measured contenders in the order of `ALL`."""
    found = {name for times in by_size.values() for name in times}
    return [name for name in ALL if name in found]


def _ratios(times: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    for operation, by_size in times.items():
        names = _names(by_size)
        for one, other in RATIOS:
            if one in names and other in names:
                medians = [(of[one]["median"], of[other]["median"]) for of in by_size.values()]
                yield f"{one} ÷ {other}", operation, *(ratio(*pair) for pair in medians)


def _rows(times: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    for operation, by_size in times.items():
        for name in _names(by_size):
            yield operation, name, *(spread(of.get(name)) for of in by_size.values())


def _counts(counts: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    for operation, by_size in counts.items():
        for name in _names(by_size):
            yield operation, name, *(f"{of[name]:,}" for of in by_size.values())
