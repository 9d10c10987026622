"""Calls of ten blocks with a network between client and server."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

from django.db import connection

from bench.contenders import ALL, WARM
from bench.page.figures import summaries
from bench.page.report import Results
from bench.site import machine, scale
from bench.site.data import Learner, attempt, blocks_of, state
from bench.site.filling import of_site
from bench.site.proxy import between
from bench.workloads.stage import Contenders, disconnect, new_learners, rotated, set_stage, timed

DELAYS = (0.0, 0.5, 2.0)
"""Milliseconds that the network adds to a round trip."""

OPERATIONS = ("set_many, update", "get_many")


def measure(_folder: Path) -> Results:
    """Measure calls at each delay."""
    rows = of_site(scale.chosen().background)
    found = set_stage(ALL, rows, 100)
    learners = new_learners(rows.learners)
    owners = {name: learners() for name in found}
    blocks = blocks_of(0)[: scale.BLOCKS]
    for name, contender in found.items():
        contender.set_many(owners[name], {block: state(Random(0)) for block in blocks})()
    direct = _ping()
    return {"machine": machine.line(), "delays": {delay: _measure(found, owners, delay, direct) for delay in DELAYS}}


def _measure(found: Contenders, owners: Mapping[str, Learner], delay: float, direct: float) -> dict[str, Any]:
    blocks = blocks_of(0)[: scale.BLOCKS]
    samples: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    disconnect(found)
    with between(delay):
        added = _ping() - direct
        for turn in range(-1, scale.chosen().round_trips):
            for name, contender in rotated(found, turn):
                fields = {block: attempt(Random(f"{delay} {turn}"), turn + 3) for block in blocks}
                calls = contender.set_many(owners[name], fields), contender.get_many(owners[name], blocks)
                for operation, call in zip(OPERATIONS, calls, strict=True):
                    time = timed(call)
                    # A read gains nothing from an earlier read.
                    if turn >= 0 and (operation != "get_many" or name not in WARM):
                        samples[operation][name].append(time)
        disconnect(found)
    return {"added": added, "times": summaries(samples)}


def _ping() -> float:
    """Return the median time of the smallest statement in milliseconds."""
    times = []
    with connection.cursor() as cursor:
        for _ in range(50):
            times.append(timed(lambda: cursor.execute("SELECT 1")))
            cursor.fetchall()
    return median(times)
