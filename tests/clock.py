"""A clock that tests set."""

from __future__ import annotations


class Clock:
    """Returns `now` in place of a monotonic clock, in seconds."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now
