"""The rate limit of commands."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Step = TypeVar("Step")


def paced(steps: Iterable[Step], size_of: Callable[[Step], int], rate: int | None) -> Iterator[Step]:
    """Yield the steps of a job, whose sizes add up to at most `rate` in a second; ``None`` sets no limit."""
    started = time.monotonic()
    for step in steps:
        yield step
        if rate:
            time.sleep(max(0.0, size_of(step) / rate - (time.monotonic() - started)))
        started = time.monotonic()
