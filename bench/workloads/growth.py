"""Calls of ten blocks on tables that grow."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from random import Random
from shutil import disk_usage
from typing import Any

from django.db import connection

from bench.contenders import CORE
from bench.page.figures import summaries
from bench.page.report import Results
from bench.site import machine, scale
from bench.site.data import BLOCKS_OF_COURSE, COURSES, Block, Learner, attempt, blocks_of, learner
from bench.site.filling import Rows, after, learners, of_site
from bench.site.scale import BLOCKS
from bench.site.sizes import size_of
from bench.workloads.stage import Contenders, clear, fill, rotated, set_stage, timed

OPERATIONS = ("set_many, update", "get_many")
CONTROL = "a table of one row"
"""A statement whose table never grows. Its times show how busy the machine was at each size."""


ROUNDED_ROWS = 100_000
"""Tables that the disk has no room for grow to a multiple of this."""

USED = 0.8
"""Share of the free disk that tables may take: the server's log grows, too."""


def measure(folder: Path) -> Results:
    """Measure calls at each size of the tables, as far as the disk has room."""
    found = set_stage(CORE, None, 1)
    _execute("CREATE TABLE bench_control (n int PRIMARY KEY)")
    _execute("INSERT INTO bench_control VALUES (0)")
    parts: list[Rows] = []
    times: dict[int, Any] = {}
    sizes = scale.table_sizes()
    for wanted in sizes:
        rows = sum(part.count for part in parts)
        size = min(wanted, room_for(rows, _bytes_of(found), disk_usage(folder).free)) if rows else wanted
        # A table that has room to become a little larger tells nothing new.
        if size < min(wanted, 2 * rows):
            break
        parts.append(after(parts, size) if parts else of_site(size))
        learners(parts[-1].first_learner + parts[-1].learners)
        fill(found, parts[-1])
        times[size] = _measure(found, parts, size)
    # The next database needs the room.
    clear()
    return {"machine": machine.line(), "times": times, "wanted": sizes[-1]}


def room_for(rows: int, size: int, free: int) -> int:
    """Return the number of rows that tables of `rows` rows and `size` bytes can have with `free` bytes of the disk."""
    return rows + int(free * USED * rows / size) // ROUNDED_ROWS * ROUNDED_ROWS


def _bytes_of(found: Contenders) -> int:
    return sum(sum(size_of(table)) for contender in found.values() for table in contender.tables)


def some_blocks(random: Random, parts: Sequence[Rows]) -> tuple[Learner, tuple[Block, ...]]:
    """Return a random learner of the filled tables, and ten blocks of a course that this learner takes."""
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
    return dict(summaries(samples))


def _execute(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)
