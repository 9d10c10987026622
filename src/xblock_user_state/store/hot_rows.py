"""Remembers rows that several processes write at once, such as the word count of a lecture's poll.

A race for such a row is lost more often than won, so its writers lock it at the first lookup. The memory is a hint for
one process: correctness does not depend on it.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterable

SECONDS = 1.0
"""Seconds for which a row stays hot. Then one writer of the process tries again without a lock."""

MAX_ROWS = 1000
"""Above this number of rows all are forgotten, before a call adds its own."""

# The time on the monotonic clock at which each row cools down.
_until: dict[Hashable, float] = {}


def mark(rows: Iterable[Hashable]) -> None:
    """Mark rows as hot: a race for one of them was lost."""
    until = time.monotonic() + SECONDS
    if len(_until) > MAX_ROWS:
        _until.clear()
    _until.update(dict.fromkeys(rows, until))


def any_hot(rows: Iterable[Hashable]) -> bool:
    """Tell whether one of these rows is hot."""
    # Nearly every process has no hot row at nearly every moment.
    if not _until:
        return False
    now = time.monotonic()
    return any(_until.get(row, 0.0) > now for row in rows)
