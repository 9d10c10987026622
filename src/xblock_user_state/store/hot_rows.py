"""Rows that several have lately written at once: the word count of a lecture's poll, say.

A race for such a row is lost more often than won, so who writes it waits in line at once. A hint, and nothing hangs on
its being true.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterable

SECONDS = 1.0
"""How long a lost race is remembered: then one writer of the process tries again without a lock."""

MAX_ROWS = 1000
"""When there are more, all are forgotten."""

_until: dict[Hashable, float] = {}


def mark(rows: Iterable[Hashable]) -> None:
    """Take note that a race for one of these rows was lost."""
    until = time.monotonic() + SECONDS
    if len(_until) > MAX_ROWS:
        _until.clear()
    _until.update(dict.fromkeys(rows, until))


def any_hot(rows: Iterable[Hashable]) -> bool:
    """Tell whether a race for one of these rows was lost a moment ago."""
    if not _until:
        return False
    now = time.monotonic()
    return any(_until.get(row, 0.0) > now for row in rows)


def clear() -> None:
    """Forget all rows."""
    _until.clear()
