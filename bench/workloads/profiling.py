"""The time of the package's calls by its parts: the server, the parts of the client's program, and waiting."""

from __future__ import annotations

import cProfile
import pstats
import re
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from statistics import median
from time import perf_counter, process_time
from typing import Any

from bench.contenders import OURS
from bench.contenders.base import Call, Contender
from bench.page.report import Results
from bench.site import machine, scale
from bench.site.data import Learner, attempt, blocks_of, state
from bench.site.filling import of_site
from bench.site.server_time import ServerTime
from bench.workloads.calls import OPERATIONS, SIZES_OF_HISTORY, call_of
from bench.workloads.stage import new_learners, set_stage

HISTORY = "get_history"
MESSAGES = r"/xblock_user_state/wire/|/codec\.py|/json/|/msgspec/"
"""The modules of the messages over HTTP."""

PARTS = {
    "JSON": r"/xblock_user_state/.*/codec\.py|/json/|/simplejson/|/msgspec/",
    "deltas": r"/xblock_user_state/.*/(encoding|splicing)\.py|/zstd/",
    "keys and arguments": r"/xblock_user_state/.*/(keys|arguments)\.py|/opaque_keys/|/xblock/",
    "rows and statements": r"/xblock_user_state/",
    "Django": r"/django/|/asgiref/",
    "driver": r"/psycopg/|/MySQLdb/",
}
"""Patterns of module paths; the first match counts."""

OTHER = "other"

WAITS = r"/psycopg/connection\.py:wait$|^~:<(function Connection\.query |method '\w+' of '_mysql\.connection' )"
"""A pattern of functions, with their paths, that wait for the server. Their time is not that of the program."""

Function = tuple[str, int, str]


class Measured:
    """The calls of one operation and size."""

    def __init__(self, server: ServerTime) -> None:
        self._server = server
        self._profile = cProfile.Profile()
        self._times: dict[str, list[float]] = {"milliseconds": [], "client": [], "server": []}

    def time(self, call: Call) -> None:
        """Run a call and note its times."""
        server, client, whole = self._server.milliseconds(), process_time(), perf_counter()
        call()
        whole, client = perf_counter() - whole, process_time() - client
        self._times["milliseconds"].append(whole * 1000)
        self._times["client"].append(client * 1000)
        self._times["server"].append(self._server.milliseconds() - server)

    def profile(self, call: Call) -> None:
        """Run a call under the profiler."""
        self._profile.runcall(call)

    def results(self) -> dict[str, Any]:
        """Return the median of the calls' time in milliseconds, and the shares of its parts, from 0 to 1."""
        whole, client, server = (median(times) for times in self._times.values())
        of_client = {part: share * client / whole for part, share in shares(self._profile, PARTS).items()}
        waiting = max(0.0, 1 - (client + server) / whole)
        return {"milliseconds": whole, "shares": {"server": server / whole, **of_client, "waiting": waiting}}


def measure(_folder: Path) -> Results:
    """Time calls of all sizes, and profile the same number of calls."""
    rows, repetitions = of_site(scale.chosen().background), scale.chosen().repetitions
    turns = sum(2 * number + 2 for number in repetitions.values())
    ours = set_stage([OURS], rows, rows.learners + turns + len(SIZES_OF_HISTORY))[OURS]
    learners, server = new_learners(rows.learners), ServerTime()
    calls: dict[str, dict[int, Any]] = {operation: {} for operation in OPERATIONS}
    for size in repetitions:
        for operation, measured in _of_size(ours, learners, size, server).items():
            calls[operation][size] = measured.results()
    calls[HISTORY] = {size: _of_history(ours, learners(), size, server).results() for size in SIZES_OF_HISTORY}
    return {"machine": machine.line(), "calls": calls}


def _of_size(ours: Contender, learners: Callable[[], Learner], size: int, server: ServerTime) -> Mapping[str, Measured]:
    """Measure the operations, one after the other for each learner, as the workload `calls` does."""
    found = {operation: Measured(server) for operation in OPERATIONS}
    blocks = blocks_of(0, max(scale.chosen().repetitions))[:size]
    for turn in range(-2, 2 * scale.chosen().repetitions[size]):
        learner = learners()
        for operation, measured in found.items():
            _run(measured, turn, call_of(operation, ours, learner, blocks, Random(f"{turn} {operation}")))
    return found


def _of_history(ours: Contender, learner: Learner, size: int, server: ServerTime) -> Measured:
    [block] = blocks_of(1)[:1]
    ours.set_many(learner, {block: state(Random(0))})()
    for number in range(2, size + 1):
        ours.set_many(learner, {block: attempt(Random(number), number)})()
    measured = Measured(server)
    for turn in range(-2, 2 * scale.chosen().repetitions[size]):
        _run(measured, turn, ours.get_history(learner, block))
    return measured


def _run(measured: Measured, turn: int, call: Call) -> None:
    """Run a call: the first two to warm up, the others timed and profiled in turn."""
    if turn < 0:
        call()
    elif turn % 2:
        measured.profile(call)
    else:
        measured.time(call)


def shares(profile: cProfile.Profile, parts: Mapping[str, str], waits: str = WAITS) -> dict[str, float]:
    """Return the share of each part in the profiled time, from 0 to 1."""
    times: Counter[str] = Counter()
    functions: Mapping[Function, Any] = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    for (path, _, name), (_, _, own, _, callers) in functions.items():
        if re.search(waits, f"{path}:{name}"):
            continue
        if path != "~":
            times[part_of(path, parts)] += own
            continue
        # Functions written in C have no path; their time counts for the caller.
        for (caller, _, _), (_, _, of_caller, _) in callers.items():
            times[part_of(caller, parts)] += of_caller
    return {part: times[part] / times.total() for part in (*parts, OTHER)}


def part_of(path: str, parts: Mapping[str, str] = PARTS) -> str:
    """Return the part of the program that a module belongs to."""
    return next((part for part, pattern in parts.items() if re.search(pattern, path)), OTHER)
