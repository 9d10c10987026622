"""Progress for whoever watches: a line that is rewritten, on a terminal only."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from django.db.utils import Error

from xblock_user_state.interface import ServiceUnavailable

_EVERY_SECONDS = 0.2


class Output(Protocol):
    """A command's output."""

    def isatty(self) -> bool:
        """Tell whether it is a terminal."""

    def write(self, msg: str = "", *, ending: str | None = None) -> None:
        """Write a line, or what ends as `ending` says."""


class Progress:
    """How far a command is, how fast, and how long it will take. Says nothing where nobody watches.

    `count` tells how many `things` there are to do. It may take long, and is asked only on a terminal. ``None`` where
    nobody knows; if it fails, nobody does: a large table may take longer to count than a statement may.
    """

    def __init__(self, output: Output, things: str, count: Callable[[], int] | None = None) -> None:
        self._output, self._things = output, things
        self._watched = output.isatty()
        self._total = counted(count) if count and self._watched else None
        self._done = 0
        self._started = time.monotonic()
        self._shown_at = 0.0
        self._width = 0

    def advance(self, number: int) -> None:
        """Say that `number` more are done."""
        self._done += number
        now = time.monotonic()
        if self._watched and now - self._shown_at >= _EVERY_SECONDS:
            self._shown_at = now
            self._show(describe(self._done, self._total, now - self._started, self._things))

    def close(self) -> None:
        """Wipe the line."""
        if self._watched:
            self._show("")
            self._output.write("\r", ending="")

    def _show(self, line: str) -> None:
        self._output.write("\r" + line.ljust(self._width), ending="")
        self._width = len(line)


def counted(count: Callable[[], int]) -> int | None:
    """Return what `count` tells; ``None`` if the database can't tell."""
    try:
        return count()
    except (Error, ServiceUnavailable):
        return None


def describe(done: int, total: int | None, seconds: float, things: str) -> str:
    """Return the line: what is done, of how many, the rate, and the time left at this rate."""
    rate = done / seconds if seconds > 0 else 0.0
    if not total:
        return f"{done:,} {things}, {rate:,.0f} a second"
    left = duration(max(0, total - done) / rate) if rate else "unknown"
    return f"{min(1, done / total):4.0%}  {done:,} of {total:,} {things}, {rate:,.0f} a second, {left} left"


def duration(seconds: float) -> str:
    """Return hours, minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
