"""Time and memory of an iteration over all learners' states, in a course and in a block."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from bench.contenders import CORE, REFERENCE
from bench.page.report import Results
from bench.site import machine, scale
from bench.site.filling import of_course
from bench.workloads.stage import rotated, set_stage

LARGE = 100_000
"""Rows from which a course counts as large: it has more blocks, and fewer repetitions."""

_BLOCKS, _BLOCKS_OF_LARGE = 10, 50
_SCOPES = ("course", "block")


def measure(_folder: Path) -> Results:
    """Iterate over courses of several sizes, and over one block of each."""
    return {"machine": machine.line(), "courses": {rows: _measure(rows) for rows in scale.chosen().courses}}


def _measure(rows: int) -> dict[str, Any]:
    learners = rows // (_BLOCKS if rows < LARGE else _BLOCKS_OF_LARGE)
    found = set_stage(CORE, of_course(rows, learners), learners)
    iterations = scale.chosen().iterations
    runs: dict[str, dict[str, list[dict[str, float]]]] = {scope: {name: [] for name in found} for scope in _SCOPES}
    for turn in range(iterations if rows < LARGE else iterations // 2):
        for scope, by_name in runs.items():
            for name, _ in rotated(found, turn):
                # The reference's paging by OFFSET reaches the time limit on a large course; one run is enough.
                if not (turn and name == REFERENCE and rows >= LARGE):
                    by_name[name].append(_iterated(name, scope))
    return {scope: {name: _median(of) for name, of in by_name.items()} for scope, by_name in runs.items()}


def _iterated(name: str, scope: str) -> dict[str, float]:
    command = [sys.executable, "-m", "bench.workloads.iterate", name, scope]
    ended = subprocess.run(command, stdout=subprocess.PIPE, check=True)  # noqa: S603 - runs our own module
    found: dict[str, float] = json.loads(ended.stdout)
    return found


def _median(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {key: median(run[key] for run in runs) for key in runs[0]}
