"""What metrics cost where there are none: the looks at the setting that a call takes, against the call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from statistics import median
from timeit import repeat
from typing import Any
from unittest import mock

from bench import machine, scale
from bench.contenders import OURS, OURS_WARM
from bench.contenders.base import Call, Contender
from bench.data import Block, Learner, attempt, blocks_of, state
from bench.figures import milliseconds
from bench.filling import of_site
from bench.report import Results, table
from bench.stage import set_stage, timed
from xblock_user_state import conf
from xblock_user_state.metrics import current

OPERATIONS = ("set_many, update", "get_many")
LOOKS = 20_000
"""How many looks are timed at once."""


def measure(_folder: Path) -> Results:
    """Measure calls of one block, count their looks, and time a look."""
    if conf.metrics() is not None:
        raise RuntimeError("there is a sink of metrics: this workload is about there being none")
    rows = of_site(scale.chosen().background)
    found = set_stage((OURS, OURS_WARM), rows, rows.learners)
    calls = {name: _measure(contender) for name, contender in found.items()}
    return {"machine": machine.line(), "look": _nanoseconds(), "calls": calls}


def section(results: Mapping[str, Results]) -> str:
    """Return a table."""
    heads = ("database", "call of 1 block", "who", "milliseconds", "looks at the setting", "ns a look", "share")
    rows = [row for database, of in results.items() for row in _rows(database, of)]
    return f"{next(iter(results.values()))['machine']}\n\n{table(heads, rows)}"


def share(look: float, call: Mapping[str, float]) -> float:
    """Return the part of a call's time that its looks take, 1 being all of it; `look` is in nanoseconds."""
    return look * call["looks"] / (call["milliseconds"] * 1e6)


def _measure(contender: Contender) -> dict[str, dict[str, float]]:
    [block], owner = blocks_of(0)[:1], Learner(1, "learner1")
    contender.set_many(owner, {block: state(Random(0))})()
    return {operation: _of_call(operation, contender, owner, block) for operation in OPERATIONS}


def _of_call(operation: str, contender: Contender, owner: Learner, block: Block) -> dict[str, float]:
    times = [
        timed(_call(operation, contender, owner, block, turn)) for turn in range(scale.chosen().repetitions[1] + 1)
    ]
    call = _call(operation, contender, owner, block, len(times))
    with mock.patch.object(conf, "metrics", wraps=conf.metrics) as looked:
        call()
    # Without the first, which made a connection.
    return {"milliseconds": median(times[1:]), "looks": looked.call_count}


def _call(operation: str, contender: Contender, owner: Learner, block: Block, turn: int) -> Call:
    if operation == "get_many":
        return contender.get_many(owner, [block])
    return contender.set_many(owner, {block: attempt(Random(turn), turn + 2)})


def _nanoseconds() -> float:
    """Return how long a look takes, by the longest of the ways to it; other processes can only lengthen it."""
    return min(repeat(current.started, number=LOOKS)) / LOOKS * 1e9


def _rows(database: str, of: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    for name, calls in of["calls"].items():
        for operation, call in calls.items():
            looks, look = f"{call['looks']}", f"{of['look']:.0f}"
            yield database, operation, name, milliseconds(call["milliseconds"]), looks, look, _percent(of, call)


def _percent(of: Mapping[str, Any], call: Mapping[str, float]) -> str:
    return f"{share(of['look'], call):.2%}"
