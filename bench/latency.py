"""What a network between client and server does to calls of ten blocks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

from django.db import connection

from bench import charts, machine, scale
from bench.contenders import ALL, OURS, RAW, REFERENCE, WARM
from bench.data import attempt, blocks_of, state
from bench.figures import ratio, spread, summary
from bench.filling import of_site
from bench.proxy import between
from bench.report import Results, table
from bench.stage import Contenders, new_learners, rotated, set_stage, timed

DELAYS = (0.0, 0.5, 2.0)
BLOCKS = 10
OPERATIONS = ("set_many, update", "get_many")


def measure(_folder: Path) -> Results:
    """Measure calls through proxies of some delays."""
    rows = of_site(scale.chosen().background)
    found = set_stage(ALL, rows, 100)
    learners = new_learners(rows.learners)
    owners = {name: learners() for name in found}
    blocks = blocks_of(0)[:BLOCKS]
    for name, contender in found.items():
        contender.set_many(owners[name], {block: state(Random(0)) for block in blocks})()
    direct = _ping()
    return {"machine": machine.line(), "delays": {delay: _measure(found, owners, delay, direct) for delay in DELAYS}}


def section(results: Mapping[str, Results]) -> str:
    """Return a table, and a chart for each database."""
    heads = ("call", "who", *(_head(delay) for delay in DELAYS))
    parts = [next(iter(results.values()))["machine"]]
    for database, of in results.items():
        parts += [
            f"### {database} at a distance",
            table(heads, _rows(of["delays"])),
            charts.image(_chart(database), f"times over the delay of the network on {database}"),
        ]
    return "\n\n".join(parts)


def draw(results: Mapping[str, Results]) -> None:
    """Draw the times over the delay."""
    for database, of in results.items():
        panels = [
            charts.Panel(
                f"{operation}: {database}", "added round-trip time, ms", "milliseconds", _lines(of["delays"], operation)
            )._replace(scale="linear")
            for operation in OPERATIONS
        ]
        charts.draw(_chart(database), panels)


def _measure(found: Contenders, owners: Mapping[str, Any], delay: float, direct: float) -> dict[str, Any]:
    blocks = blocks_of(0)[:BLOCKS]
    samples: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for contender in found.values():
        contender.disconnect()
    with between(delay):
        added = _ping() - direct
        for turn in range(-1, scale.chosen().round_trips):
            for name, contender in rotated(found, turn):
                fields = {block: attempt(Random(f"{delay} {turn}"), turn + 3) for block in blocks}
                calls = contender.set_many(owners[name], fields), contender.get_many(owners[name], blocks)
                for operation, call in zip(OPERATIONS, calls, strict=True):
                    time = timed(call)
                    # A read gains nothing from a read before.
                    if turn >= 0 and (operation != "get_many" or name not in WARM):
                        samples[operation][name].append(time)
        for contender in found.values():
            contender.disconnect()
    times = {operation: {name: summary(of) for name, of in by_name.items()} for operation, by_name in samples.items()}
    return {"added": added, "times": times}


def _ping() -> float:
    """Return the milliseconds of the smallest statement."""
    times = []
    with connection.cursor() as cursor:
        for _ in range(50):
            times.append(timed(lambda: cursor.execute("SELECT 1")))
            cursor.fetchall()
    return median(times)


def _chart(database: str) -> str:
    return f"latency-{charts.slug(database)}"


def _head(delay: float) -> str:
    return f"{delay:g} ms"


def _lines(delays: Mapping[str, Any], operation: str) -> dict[str, charts.Points]:
    names = next(iter(delays.values()))["times"][operation]
    return {
        name: [(float(delay), of["times"][operation][name]["median"]) for delay, of in delays.items()] for name in names
    }


def _rows(delays: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    yield "really added, ms", "", *(f"{of['added']:.2f}" for of in delays.values())
    for operation in OPERATIONS:
        times = [of["times"][operation] for of in delays.values()]
        for one, other in ((OURS, RAW), (REFERENCE, OURS)):
            yield operation, f"{one} ÷ {other}", *(ratio(of[one]["median"], of[other]["median"]) for of in times)
        for name in ALL:
            if name in times[0]:
                yield operation, name, *(spread(of[name]) for of in times)
