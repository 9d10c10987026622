"""The section about processes that write side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.contenders import CORE, REFERENCE
from bench.page.figures import milliseconds, ratio
from bench.page.report import Results, machine_of, table
from bench.site.scale import BLOCKS, WRITERS


def section(results: Mapping[str, Results]) -> str:
    """Return a table of processes with their own learners, and a table of the hot row."""
    own = [row for database, of in results.items() for row in _own_rows(database, of["own"])]
    hot = [row for database, of in results.items() for row in _hot_rows(database, of["hot"])]
    heads = ("database", "contender", "processes", "blocks a second", "p50 ms", "p99 ms", "÷ the reference's best")
    hot_heads = ("database", "contender", "writes a second", "p50 ms", "p99 ms", "writes", "entries", "values reset")
    return "\n\n".join(
        [
            machine_of(results),
            f"`set_many` of {BLOCKS} blocks; each process writes for a learner of its own:",
            table(heads, own),
            f"`set_many` of one field; {WRITERS} processes write to the same block of the same learner:",
            table(hot_heads, hot),
        ]
    )


def _own_rows(database: str, own: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    best = max(by_name[REFERENCE]["rate"] for by_name in own.values())
    for number, by_name in own.items():
        for name in CORE:
            one = by_name[name]
            yield database, name, str(number), f"{one['rate']:,.0f}", *_percentiles(one), ratio(one["rate"], best)


def _hot_rows(database: str, hot: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    for name in CORE:
        one = hot[name]
        counts = (f"{one[key]:,}" for key in ("writes", "entries", "reset"))
        yield database, name, f"{one['rate']:,.0f}", *_percentiles(one), *counts


def _percentiles(one: Mapping[str, float]) -> tuple[str, str]:
    return milliseconds(one["p50"]), milliseconds(one["p99"])
