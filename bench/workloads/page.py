"""Requests for a unit of 30 blocks, at several distances, and the memory of a process that serves many learners.

The requests are a learner's first view of the unit, a later view, and an answer to a problem. Other learners have
worked through the unit before.
"""

from __future__ import annotations

import gc
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management import call_command

from bench.contenders import OURS, pages
from bench.contenders.base import Call
from bench.contenders.pages import Pages
from bench.contenders.tables import drop_tables
from bench.page.figures import summaries
from bench.page.page import FIRST_VIEW, RELOAD, SUBMIT
from bench.page.report import Results
from bench.site import filling, machine, scale
from bench.site.data import Learner, learner
from bench.site.proxy import between
from bench.site.unit import KEYS, PROBLEM
from bench.workloads.iterate import megabytes
from bench.workloads.latency import DELAYS
from bench.workloads.stage import new_learners, rotated, timed

Contenders = Mapping[str, Pages]


def measure(_folder: Path) -> Results:
    """Measure the requests at each distance, and the memory."""
    found = {name: make() for name, make in pages.ALL.items()}
    _set_stage(found)
    newcomers = new_learners(1)
    delays = {delay: _measure(found, newcomers, delay) for delay in DELAYS}
    return {"machine": machine.line(), "delays": delays, "memory": _memory(found[OURS], newcomers)}


def _set_stage(found: Contenders) -> None:
    drop_tables()
    call_command("flush", interactive=False, verbosity=0)
    turns = scale.chosen().round_trips + 1
    filling.learners(1 + len(DELAYS) * len(found) * turns + 2 * scale.chosen().pages)
    for contender in found.values():
        contender.create()
        work_through(contender, user_of(learner(0)))


def work_through(contender: Pages, user: Any) -> None:
    """Let a learner open the unit, and answer everything in it."""
    contender.view(user)
    for key in KEYS:
        if key.block_type != "text":
            contender.submit(user, key, "blue")


def user_of(owner: Learner) -> Any:
    """Return the user as a request has it: with its id and name, without a statement."""
    return get_user_model()(pk=owner.id, username=owner.username)


def requests_of(contender: Pages, newcomer: Any, regular: Any, turn: int) -> Mapping[str, Call]:
    """Return the requests, the first by a learner who has not seen the unit, the others by one who has worked on it."""
    return {
        FIRST_VIEW: partial(contender.view, newcomer),
        RELOAD: partial(contender.view, regular),
        SUBMIT: partial(contender.submit, regular, PROBLEM, f"{turn}"),
    }


def _measure(found: Contenders, newcomers: Callable[[], Learner], delay: float) -> dict[str, Any]:
    samples: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    processor: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    trips: dict[str, dict[str, int]] = defaultdict(dict)
    with between(delay) as proxy:
        # The first turn is not timed: it connects.
        for turn in range(-1, scale.chosen().round_trips):
            for name, contender in rotated(found, turn):
                requests = requests_of(contender, user_of(newcomers()), user_of(learner(0)), turn)
                for request, call in requests.items():
                    before, since = proxy.round_trips(), time.process_time()
                    milliseconds = timed(call)
                    used = (time.process_time() - since) * 1000
                    trips[request][name] = proxy.round_trips() - before
                    if turn >= 0:
                        samples[request][name].append(milliseconds)
                        processor[request][name].append(used)
    return {"times": summaries(samples), "processor": summaries(processor), "round_trips": trips}


def _memory(contender: Pages, newcomers: Callable[[], Learner]) -> dict[str, float]:
    """Return the megabytes of this process before and after it has served pages to as many learners."""
    # The first half fills the caches of the process.
    before, after = (_served(contender, newcomers) for _ in range(2))
    return {"pages": scale.chosen().pages, "before": before, "after": after}


def _served(contender: Pages, newcomers: Callable[[], Learner]) -> float:
    for _ in range(scale.chosen().pages):
        contender.view(user_of(newcomers()))
    gc.collect()
    return megabytes("VmRSS")
