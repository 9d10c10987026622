"""Amounts of work: a full run, or a quick one with few repetitions and small tables."""

from __future__ import annotations

import os
from dataclasses import dataclass

# Environment variables, because workloads run in processes of their own.
QUICK_VARIABLE = "BENCH_QUICK"
LARGEST_VARIABLE = "BENCH_LARGEST"

BLOCKS = 10
"""Blocks of one call, in the workloads that vary something else."""

WRITERS = 8
"""Processes that write the same row."""


@dataclass(frozen=True)
class Scale:
    """Numbers of rows and repetitions; times in seconds."""

    repetitions: dict[int, int]
    """Repetitions of a call by its number of blocks, in rising order."""

    background: int
    """Rows in the tables before calls are timed."""

    courses: tuple[int, ...]
    """Rows of the courses that are iterated over."""

    iterations: int
    """Repetitions of an iteration; the large course gets half as many."""

    tables: tuple[int, int]
    """Smallest and largest size in rows at which a growing table is measured. Those in between grow tenfold."""

    seconds: float
    """Duration of one measurement of writing processes."""

    storage: int
    """Rows of the tables whose bytes are measured."""

    round_trips: int
    """Repetitions of a call through a slow network."""

    pages: int
    """Pages that a process serves while its memory is measured."""

    starts: int
    """Starts of a process."""

    imported: int
    """Learners of the smaller old site that is imported; each has 100 blocks and about 600 history rows."""

    maintained: int
    """Learners whose history is exported and checked; each has 100 blocks and about 600 entries."""

    course_of_console: int
    """States of the course whose pages the console shows; each learner has 100 of them."""

    openings: int
    """Times that each page of the console is opened."""


FULL = Scale(
    repetitions={1: 200, 10: 100, 100: 25, 1000: 7},
    background=10_000,
    courses=(10_000, 500_000),
    iterations=4,
    tables=(10_000, 1_000_000),
    seconds=4.0,
    storage=20_000,
    round_trips=20,
    pages=1_000,
    starts=25,
    imported=100,
    maintained=340,
    course_of_console=1_000_000,
    openings=20,
)
QUICK = Scale(
    repetitions={1: 20, 10: 8, 100: 2},
    background=2_000,
    courses=(10_000,),
    iterations=1,
    tables=(10_000, 30_000),
    seconds=0.4,
    storage=5_000,
    round_trips=3,
    pages=50,
    starts=2,
    imported=5,
    maintained=10,
    course_of_console=50_000,
    openings=5,
)


def is_quick() -> bool:
    """Tell whether this run is a quick one."""
    return bool(os.environ.get(QUICK_VARIABLE))


def chosen() -> Scale:
    """Return the scale of this run."""
    return QUICK if is_quick() else FULL


def table_sizes() -> tuple[int, ...]:
    """Return the sizes in rows of the growing table, up to the largest that the command line allows."""
    size, largest = chosen().tables
    largest = int(os.environ.get(LARGEST_VARIABLE) or largest)
    sizes = []
    while size < largest:
        sizes.append(size)
        size *= 10
    return (*sizes, largest)
