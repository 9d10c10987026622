"""Messages from a worker process to the test that started it."""

from __future__ import annotations

from typing import Any, NamedTuple


class Ready(NamedTuple):
    """The worker has a database connection and waits for its work."""

    pid: int


class Said(NamedTuple):
    """The worker's function yielded a value."""

    value: Any


class Paused(NamedTuple):
    """The worker's function yielded a `Pause`; it continues when the test tells it to."""


class Done(NamedTuple):
    """The worker's function returned, or the test stopped it."""


class Failed(NamedTuple):
    """The worker's function raised."""

    report: str


class Pause:
    """Yielded by a worker's function to wait there until the test resumes it."""
