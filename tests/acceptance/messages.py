"""What a worker process tells the test that hired it."""

from __future__ import annotations

from typing import Any, NamedTuple


class Ready(NamedTuple):
    """The worker has its database connection and waits for work."""

    pid: int


class Said(NamedTuple):
    """The work yielded a value."""

    value: Any


class Paused(NamedTuple):
    """The work yielded a `Pause`: it goes on once the test says so."""


class Done(NamedTuple):
    """The work came to its end, or the test stopped it."""


class Failed(NamedTuple):
    """The work raised."""

    report: str


class Pause:
    """What work yields to be stopped there until the test lets it go on."""
