"""A profile of the package's calls: the share of each part of the program in their time."""

from __future__ import annotations

import cProfile
import pstats
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

from bench.contenders import OURS
from bench.contenders.base import Contender
from bench.page.report import Results
from bench.site import machine, scale
from bench.site.data import Learner, blocks_of, learner, state
from bench.site.filling import of_site
from bench.workloads.calls import call_of
from bench.workloads.stage import set_stage, timed

OPERATIONS = ("set_many, update", "get_many")

PARTS = {
    "JSON": r"/xblock_user_state/.*/codec\.py|/json/|/simplejson/|/msgspec/",
    "deltas": r"/xblock_user_state/.*/encoding\.py|/zstd/",
    "keys and arguments": r"/xblock_user_state/.*/(keys|arguments)\.py|/opaque_keys/|/xblock/",
    "rows and statements": r"/xblock_user_state/",
    "Django": r"/django/|/asgiref/",
    "driver and server": r"/psycopg/|/MySQLdb/",
}
"""Patterns of module paths; the first match counts."""

OTHER = "other"

Function = tuple[str, int, str]


def measure(_folder: Path) -> Results:
    """Time calls of few and of many blocks, and profile the same number of calls."""
    rows, repetitions = of_site(scale.chosen().background), scale.chosen().repetitions
    sizes = (min(repetitions), max(repetitions))
    ours = set_stage([OURS], rows, rows.learners + 1)[OURS]
    calls = {
        operation: {size: _of_call(operation, ours, learner(rows.learners), size) for size in sizes}
        for operation in OPERATIONS
    }
    return {"machine": machine.line(), "calls": calls}


def _of_call(operation: str, contender: Contender, owner: Learner, size: int) -> dict[str, Any]:
    blocks = blocks_of(0, max(scale.chosen().repetitions))[:size]
    contender.set_many(owner, {block: state(Random(0)) for block in blocks})()
    turns = 2 * scale.chosen().repetitions[size]
    calls = [call_of(operation, contender, owner, blocks, Random(turn)) for turn in range(turns)]
    times = [timed(call) for call in calls[::2]]
    profile = cProfile.Profile()
    for call in calls[1::2]:
        profile.runcall(call)
    return {"milliseconds": median(times), "shares": _shares(profile)}


def _shares(profile: cProfile.Profile) -> dict[str, float]:
    """Return the share of each part in the profiled time, from 0 to 1."""
    times: Counter[str] = Counter()
    functions: Mapping[Function, Any] = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    for (path, _, _), (_, _, own, _, callers) in functions.items():
        if path != "~":
            times[part_of(path)] += own
            continue
        # Functions written in C have no path; their time counts for the caller.
        for (caller, _, _), (_, _, of_caller, _) in callers.items():
            times[part_of(caller)] += of_caller
    return {part: times[part] / times.total() for part in (*PARTS, OTHER)}


def part_of(path: str) -> str:
    """Return the part of the program that a module belongs to."""
    return next((part for part, pattern in PARTS.items() if re.search(pattern, path)), OTHER)
