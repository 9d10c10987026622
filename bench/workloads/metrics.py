"""The price of disabled metrics: the time of a call's lookups of the setting, compared with the call."""

from __future__ import annotations

from pathlib import Path
from random import Random
from statistics import median
from timeit import repeat
from unittest import mock

from bench.contenders import OURS, OURS_WARM
from bench.contenders.base import Call, Contender
from bench.page.report import Results
from bench.site import machine, scale
from bench.site.data import Block, Learner, attempt, blocks_of, state
from bench.site.filling import of_site
from bench.workloads.stage import set_stage, timed
from xblock_user_state import conf
from xblock_user_state.metrics import current

OPERATIONS = ("set_many, update", "get_many")
LOOKUPS = 20_000
"""Number of lookups that are timed together."""


def measure(_folder: Path) -> Results:
    """Time calls of one block, count their lookups of the setting, and time a lookup."""
    if conf.metrics() is not None:
        raise RuntimeError("a metrics sink is configured; this workload measures calls without one")
    rows = of_site(scale.chosen().background)
    found = set_stage((OURS, OURS_WARM), rows, rows.learners)
    calls = {name: _measure(contender) for name, contender in found.items()}
    return {"machine": machine.line(), "look": _nanoseconds(), "calls": calls}


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
    # The first call opened a connection.
    return {"milliseconds": median(times[1:]), "looks": looked.call_count}


def _call(operation: str, contender: Contender, owner: Learner, block: Block, turn: int) -> Call:
    if operation == "get_many":
        return contender.get_many(owner, [block])
    return contender.set_many(owner, {block: attempt(Random(turn), turn + 2)})


def _nanoseconds() -> float:
    """Return the time of a lookup by its slowest path. The minimum counts, since other processes only add time."""
    return min(repeat(current.started, number=LOOKUPS)) / LOOKUPS * 1e9
