"""Whether a call of ten blocks costs more in a larger table."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

from django.db import connection

from bench import charts, machine, scale
from bench.contenders import CORE
from bench.data import BLOCKS_OF_COURSE, COURSES, Block, Learner, attempt, blocks_of, learner
from bench.figures import ratio, spread, summary
from bench.filling import Rows, after, learners, of_site
from bench.report import Results, table
from bench.stage import Contenders, fill, rotated, set_stage, timed

BLOCKS = 10
OPERATIONS = ("set_many, update", "get_many")
CONTROL = "a table of one row"
"""What does not grow: its time tells how busy the machine was at each size."""


def measure(_folder: Path) -> Results:
    """Measure calls while the tables grow."""
    found = set_stage(CORE, None, 1)
    _execute("CREATE TABLE bench_control (n int PRIMARY KEY)")
    _execute("INSERT INTO bench_control VALUES (0)")
    parts: list[Rows] = []
    times = {}
    for size in scale.table_sizes():
        parts.append(after(parts, size) if parts else of_site(size))
        learners(parts[-1].first_learner + parts[-1].learners)
        fill(found, parts[-1])
        times[size] = _measure(found, parts, size)
    return {"machine": machine.line(), "times": times}


def section(results: Mapping[str, Results]) -> str:
    """Return a table, and a chart for each database."""
    parts = [next(iter(results.values()))["machine"]]
    for database, of in results.items():
        heads = ("call", "who", *(f"{int(size):,} rows" for size in of["times"]), "largest ÷ smallest")
        parts += [
            f"### {database} as it grows",
            table(heads, _rows(of["times"])),
            charts.image(_chart(database), f"times over the rows of the table on {database}"),
        ]
    return "\n\n".join(parts)


def draw(results: Mapping[str, Results]) -> None:
    """Draw the times over the rows."""
    for database, of in results.items():
        panels = [
            charts.Panel(
                f"{operation}: {database}", "rows in the table", "milliseconds", _lines(of["times"], operation)
            )
            for operation in OPERATIONS
        ]
        charts.draw(_chart(database), panels)


def some_blocks(random: Random, parts: Sequence[Rows]) -> tuple[Learner, tuple[Block, ...]]:
    """Return a learner whom the tables were filled with, any of them, and ten blocks of a course of theirs."""
    [rows] = random.choices(parts, [part.learners for part in parts])
    number = random.randrange(rows.learners)
    start = random.randrange(BLOCKS_OF_COURSE - BLOCKS)
    blocks = blocks_of(number * 7 % COURSES)[start : start + BLOCKS]
    return learner(rows.first_learner - 1 + number), blocks


def _measure(found: Contenders, parts: Sequence[Rows], size: int) -> dict[str, Any]:
    samples: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    random = Random(size)
    for turn in range(-1, scale.chosen().repetitions[BLOCKS]):
        owner, blocks = some_blocks(random, parts)
        samples[OPERATIONS[0]][CONTROL].append(timed(lambda: _execute("UPDATE bench_control SET n = n + 1")))
        for name, contender in rotated(found, turn):
            states = {block: attempt(Random(turn), turn + 3) for block in blocks}
            calls = contender.set_many(owner, states), contender.get_many(owner, blocks)
            for operation, call in zip(OPERATIONS, calls, strict=True):
                time = timed(call)
                if turn >= 0:
                    samples[operation][name].append(time)
    return {operation: {name: summary(of) for name, of in by_name.items()} for operation, by_name in samples.items()}


def _execute(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


def _chart(database: str) -> str:
    return f"growth-{charts.slug(database)}"


def _lines(times: Mapping[str, Any], operation: str) -> dict[str, charts.Points]:
    return {name: [(int(size), of[operation][name]["median"]) for size, of in times.items()] for name in CORE}


def _rows(times: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    for operation in OPERATIONS:
        for name in next(iter(times.values()))[operation]:
            found = [of[operation][name] for of in times.values()]
            yield operation, name, *map(spread, found), ratio(found[-1]["median"], found[0]["median"])
