"""How much is measured: a full run, or a quick one with few repetitions and small tables."""

from __future__ import annotations

import os
from dataclasses import dataclass

QUICK_VARIABLE = "BENCH_QUICK"
LARGEST_VARIABLE = "BENCH_LARGEST"


@dataclass(frozen=True)
class Scale:
    """Numbers of rows and repetitions; times in seconds."""

    repetitions: dict[int, int]
    """How often calls are repeated, by their number of blocks, which rises."""

    background: int
    """Rows that the tables have before calls are measured."""

    courses: tuple[int, ...]
    """Rows of the courses that are iterated over."""

    iterations: int
    """How often each iteration is repeated; half of them for the large course."""

    tables: tuple[int, ...]
    """Rows that a table grows to."""

    seconds: float
    """How long processes write for one figure."""

    storage: int
    """Rows of the table that is weighed."""

    round_trips: int
    """How often a call is repeated through a slow network."""


FULL = Scale(
    repetitions={1: 200, 10: 100, 100: 25, 1000: 7},
    background=10_000,
    courses=(10_000, 500_000),
    iterations=4,
    tables=(10_000, 100_000, 1_000_000),
    seconds=4.0,
    storage=20_000,
    round_trips=20,
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
)


def is_quick() -> bool:
    """Tell whether this is a quick run."""
    return bool(os.environ.get(QUICK_VARIABLE))


def chosen() -> Scale:
    """Return the scale of this run."""
    return QUICK if is_quick() else FULL


def table_sizes() -> tuple[int, ...]:
    """Return the rows that a table grows to, with the largest that was asked for."""
    sizes = chosen().tables
    largest = int(os.environ.get(LARGEST_VARIABLE) or sizes[-1])
    return (*(size for size in sizes if size < largest), largest)
