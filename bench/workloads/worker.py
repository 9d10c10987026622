"""``python -m bench.workloads.worker NUMBER``: a process that calls on demand. `bench.workloads.processes` starts it.

It reads a task as a line of JSON, prepares it and prints "ready". After the next line it calls until the time is over,
and prints its times as a line of JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from random import Random
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Any

import django

from bench.site.scale import BLOCKS

if TYPE_CHECKING:
    from bench.contenders.base import Call, Contender

Task = dict[str, Any]
"""The ``name`` of a contender, or a service's ``url`` with its callers' ``tokens``, and more for each task."""

HOT_LEARNER = 99
HOT_COURSE = 5


def main() -> None:
    django.setup()
    number = int(sys.argv[1])
    for line in sys.stdin:
        task = json.loads(line)
        call_of = _TASKS[task["task"]](task, number)
        print("ready", flush=True)
        sys.stdin.readline()
        print(json.dumps(_work(call_of, task["seconds"])), flush=True)


def _own(task: Task, number: int) -> Callable[[int], Call]:
    """Return writes to ten blocks of a learner that no other process uses."""
    from bench.site.data import attempt, blocks_of, learner, state  # noqa: PLC0415 - needs Django set up

    contender = _contender(task)
    me, blocks, random = learner(100 + number), blocks_of(10 + number)[:BLOCKS], Random(number)
    contender.set_many(me, {block: state(random) for block in blocks})()
    return lambda attempts: contender.set_many(me, {block: attempt(random, attempts) for block in blocks})


def _hot(task: Task, number: int) -> Callable[[int], Call]:
    """Return writes to the hot row, in a field that only this process changes."""
    from bench.site.data import blocks_of, learner  # noqa: PLC0415 - see above

    contender, block = _contender(task), blocks_of(HOT_COURSE)[0]
    contender.get_many(learner(HOT_LEARNER), [block])()
    return lambda attempts: contender.set_many(learner(HOT_LEARNER), {block: {f"writer{number}": attempts}})


def _remote(task: Task, number: int) -> Callable[[int], Call]:
    """Return reads of one block, over HTTP, of a learner with a token."""
    from bench.contenders.remote import Remote  # noqa: PLC0415 - see above
    from bench.site.data import Learner, blocks_of  # noqa: PLC0415 - see above
    from xblock_user_state.remote import RemoteXBlockUserStateClient  # noqa: PLC0415 - see above

    contender = Remote(RemoteXBlockUserStateClient(task["url"], task["tokens"][number]))
    call = contender.get_many(Learner(*task["learners"][number]), blocks_of(0)[:1])
    if len(call()) != 1:
        raise RuntimeError("the learner has no state")
    return lambda _: call


def _contender(task: Task) -> Contender:
    from bench.contenders import CORE, named  # noqa: PLC0415 - see above

    return named(CORE)[task["name"]]


_TASKS: dict[str, Callable[[Task, int], Callable[[int], Any]]] = {"own": _own, "hot": _hot, "remote": _remote}


def _work(call_of: Callable[[int], Call], seconds: float) -> dict[str, Any]:
    times: list[float] = []
    used, begun = process_time(), perf_counter()
    now = begun
    while now - begun < seconds:
        call = call_of(len(times) + 1)
        started = perf_counter()
        call()
        now = perf_counter()
        times.append((now - started) * 1000)
    return {"seconds": now - begun, "milliseconds": times, "processor": (process_time() - used) * 1000}


if __name__ == "__main__":
    main()
