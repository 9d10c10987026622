"""``python -m bench.worker NUMBER``: writes when told to, in a process of its own; `bench.processes` starts it.

Reads tasks as lines of JSON. For each it gets ready and says so, waits for a line, writes until its time is over, and
prints what came of it as a line of JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from random import Random
from time import perf_counter
from typing import TYPE_CHECKING, Any

import django

if TYPE_CHECKING:
    from bench.contenders.base import Call, Contender

BLOCKS = 10
HOT_LEARNER = 99
HOT_COURSE = 5


def main() -> None:
    django.setup()
    from bench.contenders import CORE, named  # noqa: PLC0415 - once Django is set up

    number, found = int(sys.argv[1]), named(CORE)
    for line in sys.stdin:
        task = json.loads(line)
        call = _TASKS[task["task"]](found[task["who"]], number)
        print("ready", flush=True)
        sys.stdin.readline()
        print(json.dumps(_work(call, task["seconds"])), flush=True)


def _own(contender: Contender, number: int) -> Callable[[int], Call]:
    """Return what writes blocks of a learner whom nobody else writes."""
    from bench.data import attempt, blocks_of, learner, state  # noqa: PLC0415 - once Django is set up

    me, blocks, random = learner(100 + number), blocks_of(10 + number)[:BLOCKS], Random(number)
    contender.set_many(me, {block: state(random) for block in blocks})()
    return lambda attempts: contender.set_many(me, {block: attempt(random, attempts) for block in blocks})


def _hot(contender: Contender, number: int) -> Callable[[int], Call]:
    """Return what writes a field of its own into a row that everybody writes."""
    from bench.data import blocks_of, learner  # noqa: PLC0415 - once Django is set up

    block = blocks_of(HOT_COURSE)[0]
    contender.get_many(learner(HOT_LEARNER), [block])()
    return lambda attempts: contender.set_many(learner(HOT_LEARNER), {block: {f"writer{number}": attempts}})


_TASKS: dict[str, Callable[[Any, int], Callable[[int], Any]]] = {"own": _own, "hot": _hot}


def _work(call_of: Callable[[int], Call], seconds: float) -> dict[str, Any]:
    times: list[float] = []
    begun = now = perf_counter()
    while now - begun < seconds:
        call = call_of(len(times) + 1)
        started = perf_counter()
        call()
        now = perf_counter()
        times.append((now - started) * 1000)
    return {"seconds": now - begun, "milliseconds": times}


if __name__ == "__main__":
    main()
