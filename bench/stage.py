"""What every comparison begins with: new tables, learners, and rows of a site in them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import count
from time import perf_counter

from django.core.management import call_command

from bench import contenders, filling
from bench.contenders.base import Call, Contender
from bench.contenders.tables import drop_tables
from bench.data import Learner, learner
from bench.filling import Rows

Contenders = dict[str, Contender]


def set_stage(names: Iterable[str], rows: Rows | None, learners: int) -> Contenders:
    """Return the contenders that this database has, their tables filled; the ids of new learners follow the rows'."""
    # Before the flush, which knows nothing of tables that refer to users.
    drop_tables()
    call_command("flush", interactive=False, verbosity=0)
    filling.prepare()
    filling.learners(learners)
    found = contenders.named(names)
    for contender in found.values():
        contender.create()
    if rows:
        fill(found, rows)
    return found


def fill(found: Contenders, rows: Rows) -> None:
    """Add rows to everybody's tables."""
    for contender in found.values():
        contender.fill(rows)
        filling.analyze(contender.tables)
    filling.settle()


def new_learners(first: int) -> Callable[[], Learner]:
    """Return a function that gives another learner at each call."""
    numbers = count(first)
    return lambda: learner(next(numbers))


def rotated(found: Contenders, turn: int) -> Sequence[tuple[str, Contender]]:
    """Return the contenders in another order at each turn: nobody always follows the same one."""
    items = [*found.items()]
    start = turn % len(items)
    return items[start:] + items[:start]


def timed(call: Call) -> float:
    """Return how long a call takes, in milliseconds."""
    started = perf_counter()
    call()
    return (perf_counter() - started) * 1000
