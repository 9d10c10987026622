"""``python -m bench.workloads.worker NUMBER``: a process that writes on demand. `bench.workloads.processes` starts it.

It reads a task as a line of JSON, prepares it and prints "ready". After the next line it writes until the time is over,
and prints its times as a line of JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from random import Random
from time import perf_counter
from typing import TYPE_CHECKING, Any

import django

from bench.site.scale import BLOCKS

if TYPE_CHECKING:
    from bench.contenders.base import Call, Contender

HOT_LEARNER = 99
HOT_COURSE = 5


def main() -> None:
    django.setup()
    from bench.contenders import CORE, named  # noqa: PLC0415 - needs Django set up

    number, found = int(sys.argv[1]), named(CORE)
    for line in sys.stdin:
        task = json.loads(line)
        call_of = _TASKS[task["task"]](found[task["name"]], number)
        print("ready", flush=True)
        sys.stdin.readline()
        print(json.dumps(_work(call_of, task["seconds"])), flush=True)


def _own(contender: Contender, number: int) -> Callable[[int], Call]:
    """Return writes to ten blocks of a learner that no other process uses."""
    from bench.site.data import attempt, blocks_of, learner, state  # noqa: PLC0415 - see above

    me, blocks, random = learner(100 + number), blocks_of(10 + number)[:BLOCKS], Random(number)
    contender.set_many(me, {block: state(random) for block in blocks})()
    return lambda attempts: contender.set_many(me, {block: attempt(random, attempts) for block in blocks})


def _hot(contender: Contender, number: int) -> Callable[[int], Call]:
    """Return writes to the hot row, in a field that only this process changes."""
    from bench.site.data import blocks_of, learner  # noqa: PLC0415 - see above

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
