"""The common start of comparisons: fresh tables, learners, and the rows of a site in each contender's tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import count
from time import perf_counter
from typing import TypeVar

from django.core.management import call_command

from bench import contenders
from bench.contenders.base import Call, Contender
from bench.contenders.tables import drop_tables
from bench.site import filling
from bench.site.data import Learner, learner
from bench.site.filling import Rows

Contenders = dict[str, Contender]

Item = TypeVar("Item")


def set_stage(names: Iterable[str], rows: Rows | None, learners: int) -> Contenders:
    """Return the contenders that support this database, with `rows` in their tables and `learners` users."""
    clear()
    filling.prepare()
    filling.learners(learners)
    found = contenders.named(names)
    for contender in found.values():
        contender.create()
    if rows:
        fill(found, rows)
    return found


def clear() -> None:
    """Delete all rows and tables of earlier workloads."""
    # The flush does not know the tables that refer to users, so they go first.
    drop_tables()
    call_command("flush", interactive=False, verbosity=0)


def fill(found: Contenders, rows: Rows) -> None:
    """Add rows to the tables of all contenders.

    By turns, so that each contender has its share of the pages that the server keeps in memory.
    """
    for piece in rows.pieces():
        for contender in found.values():
            contender.fill(piece)
    for contender in found.values():
        filling.analyze(contender.tables)
    filling.settle()


def disconnect(found: Contenders) -> None:
    """Close the contenders' own connections, so that the next ones go through a proxy or past it."""
    for contender in found.values():
        contender.disconnect()


def new_learners(first: int) -> Callable[[], Learner]:
    """Return a function that returns another learner at each call, starting with number `first`."""
    numbers = count(first)
    return lambda: learner(next(numbers))


def rotated(found: Mapping[str, Item], turn: int) -> Sequence[tuple[str, Item]]:
    """Return the contenders with another one first at each turn, so that a busy moment hits all of them alike."""
    items = [*found.items()]
    start = turn % len(items)
    return items[start:] + items[:start]


def timed(call: Call) -> float:
    """Run a call and return its duration in milliseconds."""
    started = perf_counter()
    call()
    return (perf_counter() - started) * 1000
