"""Progress of a command: one line, rewritten in place, on a terminal only."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from django.db.utils import Error

from xblock_user_state.interface import ServiceUnavailable

_EVERY_SECONDS = 0.2

Count = Callable[[], int | None]
"""Returns the number of things to do; ``None`` if it is not known."""


class Output(Protocol):
    """The standard output of a command."""

    def isatty(self) -> bool:
        """Tell whether the output is a terminal."""

    def write(self, msg: str = "", *, ending: str | None = None) -> None:
        """Write `msg`, and then `ending` in place of a newline."""


class Progress:
    """Shows the number of `things` done, the rate, and the time left. Prints nothing unless `output` is a terminal.

    `count` returns the number of things to do. It may take long, so it is called on a terminal only. Without it, and
    when it fails, the line has no total: counting a large table may exceed the database's timeout for statements.

    An interrupted run did `before` of the things. They are among the things done, and do not count for the rate.
    """

    def __init__(self, output: Output, things: str, count: Count | None = None, before: int = 0) -> None:
        self._output, self._things = output, things
        self._is_terminal = output.isatty()
        self._total = count_or_none(count) if count and self._is_terminal else None
        self._before = self._done = before
        self._started = time.monotonic()
        self._shown_at = 0.0
        self._width = 0

    def advance(self, number: int) -> None:
        """Add `number` to the things done, and rewrite the line if it is old enough."""
        self._done += number
        if not self._is_terminal:
            return
        now = time.monotonic()
        if now - self._shown_at >= _EVERY_SECONDS:
            self._shown_at = now
            rate = (self._done - self._before) / max(now - self._started, 1e-9)
            self._show(describe(self._done, self._total, rate, self._things))

    def close(self) -> None:
        """Wipe the line."""
        if self._is_terminal:
            self._show("")
            self._output.write("\r", ending="")

    def _show(self, line: str) -> None:
        # Blanks wipe the end of a longer line before.
        self._output.write("\r" + line.ljust(self._width), ending="")
        self._width = len(line)


def count_or_none(count: Count) -> int | None:
    """Call `count`, and return its number; ``None`` if it has none, or the database fails."""
    try:
        return count()
    except (Error, ServiceUnavailable):
        return None


def describe(done: int, total: int | None, rate: float, things: str) -> str:
    """Return the line: number done, total, rate a second, and time left at this rate."""
    if not total:
        return f"{done:,} {things}, {rate:,.0f} a second"
    left = duration(max(0, total - done) / rate) if rate else "unknown"
    return f"{min(1, done / total):4.0%}  {done:,} of {total:,} {things}, {rate:,.0f} a second, {left} left"


def duration(seconds: float) -> str:
    """Return hours, minutes and seconds, such as ``1:02:03``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
