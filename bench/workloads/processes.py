"""Write rates of several processes: first each with its own learner, then all of them in one row."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from bench.contenders import CORE, REFERENCE
from bench.contenders.base import Contender
from bench.page.figures import percentile
from bench.page.report import Results
from bench.site import machine, scale
from bench.site.data import blocks_of, learner
from bench.site.filling import of_site
from bench.workloads import worker
from bench.workloads.stage import set_stage

NUMBERS = (1, 4, 8)
Worker = subprocess.Popen[str]


def measure(_folder: Path) -> Results:
    """Measure 1, 4 and 8 processes with their own learners, and the hot row."""
    found = set_stage(CORE, of_site(scale.chosen().background), 200)
    with workers_of(max(NUMBERS)) as workers:
        own = {number: {name: _own(workers[:number], name) for name in found} for number in NUMBERS}
        hot = {name: _hot(workers[: scale.WRITERS], name, contender) for name, contender in found.items()}
    return {"machine": machine.line(), "own": own, "hot": hot}


@contextmanager
def workers_of(number: int) -> Iterator[list[Worker]]:
    """Run processes until the end of the ``with`` block."""
    command = [sys.executable, "-m", "bench.workloads.worker"]
    workers = [
        subprocess.Popen(  # noqa: S603 - runs our own module
            [*command, str(one)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for one in range(number)
    ]
    try:
        yield workers
    finally:
        for one in workers:
            one.kill()
            one.wait()


def run(workers: Sequence[Worker], task: str, **options: Any) -> list[dict[str, Any]]:
    """Run a task in all workers at the same time, and return their reports."""
    for one in workers:
        _tell(one, json.dumps({"task": task, "seconds": scale.chosen().seconds, **options}))
    for one in workers:
        _heard(one)
    for one in workers:
        _tell(one, "go")
    return [json.loads(_heard(one)) for one in workers]


def _tell(one: Worker, line: str) -> None:
    assert one.stdin is not None  # noqa: S101 - it was started with pipes
    one.stdin.write(f"{line}\n")
    one.stdin.flush()


def _heard(one: Worker) -> str:
    assert one.stdout is not None  # noqa: S101 - see above
    line = one.stdout.readline()
    if not line:
        raise RuntimeError("a writing process has ended; see its traceback above")
    return line


def _own(workers: Sequence[Worker], name: str) -> dict[str, float]:
    return _summary(run(workers, "own", name=name), scale.BLOCKS)


def _hot(workers: Sequence[Worker], name: str, contender: Contender) -> dict[str, float]:
    owner, block = learner(worker.HOT_LEARNER), blocks_of(worker.HOT_COURSE)[0]
    contender.set_many(owner, {block: {"attempts": 0}})()
    runs = run(workers, "hot", name=name)
    entries = [entry or {} for entry in contender.entries(owner, block)][::-1]
    writes = sum(len(run["milliseconds"]) for run in runs)
    reset = values_reset(entries)
    # The reference is known to lose writes, and the figure shows how many.
    if name != REFERENCE and (reset or len(entries) != writes + 1 or not _is_last(entries[-1], runs)):
        raise RuntimeError(f"{name} lost writes: {writes} writes, {len(entries)} entries, {reset} values reset")
    return {**_summary(runs, 1), "writes": writes, "entries": len(entries), "reset": reset}


def values_reset(entries: Sequence[Mapping[str, Any]]) -> int:
    """Count the values that are older than in the entry before. Entries come oldest first; writers only count up."""
    return sum(
        before[name] > after.get(name, 0)
        for before, after in pairwise(entries)
        for name in before
        if name.startswith("writer")
    )


def _is_last(state: Mapping[str, Any], runs: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether the state has the last write of every process."""
    return all(state.get(f"writer{number}") == len(run["milliseconds"]) for number, run in enumerate(runs))


def _summary(runs: Sequence[Mapping[str, Any]], blocks: int) -> dict[str, float]:
    times = [time for run in runs for time in run["milliseconds"]]
    rate = sum(len(run["milliseconds"]) * blocks / run["seconds"] for run in runs)
    return {"rate": rate, "p50": percentile(times, 50), "p99": percentile(times, 99)}
