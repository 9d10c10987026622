"""Rests of jobs at the lock of a SQLite file, which has one lock for all writers and no queue for it.

A transaction that waits asks again after 1, 2, 5, 10, 15, 20 and 25 ms, and ever less often: from about 300 ms on, each
100 ms (``sqliteDefaultBusyCallback`` in SQLite's main.c). So a job that takes the lock again at once keeps it waiting
until its timeout. Hence jobs leave the lock free between their steps.

Databases that lock rows have queues, and need none of this.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from django.db import connections

Step = TypeVar("Step")

MOST_REST_SECONDS = 0.1
"""The longest rest of a job: SQLite's longest time between two questions, in which all transactions that wait ask."""


def resting(database: str, steps: Iterable[Step]) -> Iterator[Step]:
    """Yield the steps of a job; on SQLite, rest after each as long as it took, up to `MOST_REST_SECONDS`."""
    if connections[database].features.has_select_for_update:
        yield from steps
        return
    started = time.monotonic()
    for step in steps:
        took = time.monotonic() - started
        yield step
        time.sleep(min(took, MOST_REST_SECONDS))
        started = time.monotonic()
