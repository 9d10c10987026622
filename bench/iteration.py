"""How long it takes to go through all learners' states in a course and in a block, and how much memory."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from bench import machine, scale
from bench.contenders import CORE, OURS, RAW, REFERENCE
from bench.figures import ratio
from bench.filling import of_course
from bench.report import Results, table
from bench.stage import rotated, set_stage

LARGE = 100_000
_BLOCKS, _BLOCKS_OF_LARGE = 10, 50


def measure(_folder: Path) -> Results:
    """Iterate over courses of some sizes, and over one of their blocks."""
    return {"machine": machine.line(), "courses": {rows: _measure(rows) for rows in scale.chosen().courses}}


def section(results: Mapping[str, Results]) -> str:
    """Return a table."""
    heads = ("database", "who", "rows", "of a", "seconds", "µs a row", "÷ raw", "MB at first", "MB at most")
    rows = [row for database, of in results.items() for row in _rows(database, of["courses"])]
    return f"{next(iter(results.values()))['machine']}\n\n{table(heads, rows)}"


def _measure(rows: int) -> dict[str, Any]:
    learners = rows // (_BLOCKS if rows < LARGE else _BLOCKS_OF_LARGE)
    found = set_stage(CORE, of_course(rows, learners), learners)
    iterations = scale.chosen().iterations
    runs: dict[str, dict[str, list[dict[str, float]]]] = {what: {name: [] for name in found} for what in _WHAT}
    for turn in range(iterations if rows < LARGE else iterations // 2):
        for what, by_name in runs.items():
            for name, _ in rotated(found, turn):
                # Paging by OFFSET takes all the time that there is, whatever the machine does in between.
                if not (turn and name == REFERENCE and rows >= LARGE):
                    by_name[name].append(_iterated(name, what))
    return {what: {name: _median(of) for name, of in by_name.items()} for what, by_name in runs.items()}


_WHAT = ("course", "block")


def _iterated(name: str, what: str) -> dict[str, float]:
    command = [sys.executable, "-m", "bench.iterate", name, what]
    ended = subprocess.run(command, stdout=subprocess.PIPE, check=True)  # noqa: S603 - a program of ours
    found: dict[str, float] = json.loads(ended.stdout)
    return found


def _median(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {key: median(run[key] for run in runs) for key in runs[0]}


def _rows(database: str, courses: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    for by_what in courses.values():
        for what, by_name in by_what.items():
            for name in (OURS, REFERENCE, RAW):
                one = by_name[name]
                yield (
                    database,
                    name,
                    f"{one['rows']:,.0f}",
                    what,
                    f"{one['seconds']:.2f}",
                    f"{one['seconds'] / one['rows'] * 1e6:.1f}",
                    ratio(one["seconds"] / one["rows"], by_name[RAW]["seconds"] / by_name[RAW]["rows"]),
                    f"{one['before']:.0f}",
                    f"{one['peak']:.0f}",
                )
