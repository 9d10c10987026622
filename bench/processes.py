"""How much several processes write side by side: each its own learners, and all of them one row."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from bench import machine, scale, worker
from bench.contenders import CORE, OURS, RAW, REFERENCE
from bench.contenders.base import Contender
from bench.data import blocks_of, learner
from bench.figures import milliseconds, percentile, ratio
from bench.filling import of_site
from bench.report import Results, table
from bench.stage import set_stage

NUMBERS = (1, 4, 8)
WRITERS = 8
Worker = subprocess.Popen[str]


def measure(_folder: Path) -> Results:
    """Let processes write."""
    found = set_stage(CORE, of_site(scale.chosen().background), 200)
    with _workers() as workers:
        own = {number: {name: _own(workers[:number], name) for name in found} for number in NUMBERS}
        hot = {name: _hot(workers[:WRITERS], name, contender) for name, contender in found.items()}
    return {"machine": machine.line(), "own": own, "hot": hot}


def section(results: Mapping[str, Results]) -> str:
    """Return a table of the own learners, and one of the hot row."""
    own = [row for database, of in results.items() for row in _own_rows(database, of["own"])]
    hot = [row for database, of in results.items() for row in _hot_rows(database, of["hot"])]
    heads = ("database", "who", "processes", "blocks a second", "p50 ms", "p99 ms", "÷ the reference's best")
    hot_heads = ("database", "who", "writes a second", "p50 ms", "p99 ms", "writes", "entries", "values reset")
    return "\n\n".join(
        [
            next(iter(results.values()))["machine"],
            f"`set_many` of {worker.BLOCKS} blocks, each process with a learner of its own:",
            table(heads, own),
            f"`set_many` of one field by {WRITERS} processes, all in the same block of the same learner:",
            table(hot_heads, hot),
        ]
    )


@contextmanager
def _workers() -> Iterator[list[Worker]]:
    command = [sys.executable, "-m", "bench.worker"]
    workers = [
        subprocess.Popen(  # noqa: S603 - a program of ours
            [*command, str(number)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for number in range(max(NUMBERS))
    ]
    try:
        yield workers
    finally:
        for one in workers:
            one.kill()
            one.wait()


def _run(workers: Sequence[Worker], task: str, who: str) -> list[dict[str, Any]]:
    """Let all of them work at the same time, and return what each of them says."""
    for one in workers:
        _tell(one, json.dumps({"task": task, "who": who, "seconds": scale.chosen().seconds}))
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
        raise RuntimeError("a process that should write has ended; see its traceback above")
    return line


def _own(workers: Sequence[Worker], who: str) -> dict[str, float]:
    return _summary(_run(workers, "own", who), worker.BLOCKS)


def _hot(workers: Sequence[Worker], who: str, contender: Contender) -> dict[str, float]:
    owner, block = learner(worker.HOT_LEARNER), blocks_of(worker.HOT_COURSE)[0]
    contender.set_many(owner, {block: {"attempts": 0}})()
    runs = _run(workers, "hot", who)
    entries = [entry or {} for entry in contender.entries(owner, block)][::-1]
    writes = sum(len(run["milliseconds"]) for run in runs)
    reset = values_reset(entries)
    if who != REFERENCE and (reset or len(entries) != writes + 1 or not _is_last(entries[-1], runs)):
        raise RuntimeError(f"{who} lost writes: {writes} writes, {len(entries)} entries, {reset} values reset")
    return {**_summary(runs, 1), "writes": writes, "entries": len(entries), "reset": reset}


def values_reset(entries: Sequence[Mapping[str, Any]]) -> int:
    """Return how often an entry has an older value than the one before; they are the oldest first, values only rise."""
    return sum(
        before[name] > after.get(name, 0)
        for before, after in pairwise(entries)
        for name in before
        if name.startswith("writer")
    )


def _is_last(state: Mapping[str, Any], runs: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether everybody's last write is there."""
    return all(state.get(f"writer{number}") == len(run["milliseconds"]) for number, run in enumerate(runs))


def _summary(runs: Sequence[Mapping[str, Any]], blocks: int) -> dict[str, float]:
    times = [time for run in runs for time in run["milliseconds"]]
    rate = sum(len(run["milliseconds"]) * blocks / run["seconds"] for run in runs)
    return {"rate": rate, "p50": percentile(times, 50), "p99": percentile(times, 99)}


def _own_rows(database: str, own: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    best = max(by_name[REFERENCE]["rate"] for by_name in own.values())
    for number, by_name in own.items():
        for name in (OURS, REFERENCE, RAW):
            one = by_name[name]
            times = milliseconds(one["p50"]), milliseconds(one["p99"])
            yield database, name, str(number), f"{one['rate']:,.0f}", *times, ratio(one["rate"], best)


def _hot_rows(database: str, hot: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    for name in (OURS, REFERENCE, RAW):
        one = hot[name]
        times = milliseconds(one["p50"]), milliseconds(one["p99"])
        counts = (f"{one[key]:,}" for key in ("writes", "entries", "reset"))
        yield database, name, f"{one['rate']:,.0f}", *times, *counts
