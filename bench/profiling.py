"""Where the time of our calls goes: what they take, shared out as a profiler sees it."""

from __future__ import annotations

import cProfile
import pstats
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

from bench import machine, scale
from bench.calls import call_of
from bench.contenders import OURS
from bench.contenders.base import Contender
from bench.data import Learner, blocks_of, learner, state
from bench.figures import milliseconds
from bench.filling import of_site
from bench.report import Results, table
from bench.stage import set_stage, timed

OPERATIONS = ("set_many, update", "get_many")

DRIVER = "driver and server"
PARTS = {
    "JSON": ("state/codec.py", "/json/", "/simplejson/", "/msgspec/"),
    "deltas": ("state/encoding.py", "/zstd/"),
    "keys and arguments": ("state/keys.py", "state/arguments.py", "/opaque_keys/", "/xblock/"),
    "rows and statements": ("/xblock_user_state/",),
    "Django": ("/django/", "/asgiref/"),
    DRIVER: ("/psycopg/", "/MySQLdb/"),
}
"""What the path of a module has in it, in the order in which it is looked for."""

OTHER = "other"

Function = tuple[str, int, str]


def measure(_folder: Path) -> Results:
    """Time the calls, and profile as many more."""
    rows, repetitions = of_site(scale.chosen().background), scale.chosen().repetitions
    sizes = (min(repetitions), max(repetitions))
    ours = set_stage([OURS], rows, rows.learners + 1)[OURS]
    calls = {
        operation: {size: _of_call(operation, ours, learner(rows.learners), size) for size in sizes}
        for operation in OPERATIONS
    }
    return {"machine": machine.line(), "calls": calls}


def section(results: Mapping[str, Results]) -> str:
    """Return a table."""
    heads = ("database", "call", "blocks", "ms", *(f"{part} %" for part in (*PARTS, OTHER)))
    rows = [row for database, of in results.items() for row in _rows(database, of)]
    return f"{next(iter(results.values()))['machine']}\n\n{table(heads, rows)}"


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
    """Return the part of the time that each part of the program takes, 1 being all of it."""
    times: Counter[str] = Counter()
    functions: Mapping[Function, Any] = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    for (path, _, _), (_, _, own, _, callers) in functions.items():
        if path != "~":
            times[_part_of(path)] += own
            continue
        # What is written in C has no path, and belongs to who calls it.
        for (caller, _, _), (_, _, of_caller, _) in callers.items():
            times[_part_of(caller)] += of_caller
    return {part: times[part] / times.total() for part in (*PARTS, OTHER)}


def _part_of(path: str) -> str:
    found = (part for part, names in PARTS.items() if any(name in path for name in names))
    return next(found, OTHER)


def _rows(database: str, of: Results) -> Iterator[Sequence[str]]:
    for operation, by_size in of["calls"].items():
        for size, call in by_size.items():
            shares = (f"{100 * share:.0f}" for share in call["shares"].values())
            yield database, operation, f"{int(size):,}", milliseconds(call["milliseconds"]), *shares
