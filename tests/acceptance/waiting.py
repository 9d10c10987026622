"""Waiting for processes, with a limit."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable

# Longer than any retry of the client.
PATIENCE_SECONDS = 120
# A traceback with its causes.
SHOWN_LINES = 80


class Patience:
    """Lasts as long as `moving` changes: on a busy machine work takes long, and work that stands still is a fault."""

    def __init__(self, moving: Callable[[], object]) -> None:
        self._moving = moving
        self._seen, self._since = moving(), time.monotonic()

    def check(self) -> None:
        """Fail if `moving` has had one value for too long."""
        if (now := self._moving()) != self._seen:
            self._seen, self._since = now, time.monotonic()
        assert time.monotonic() < self._since + PATIENCE_SECONDS, f"nothing moves: {self._seen}"


def finished(process: subprocess.Popen[str], moving: Callable[[], object] = lambda: None) -> str:
    """Wait for a process, expect success, and return its output. Fails if `moving` has one value for too long."""
    patience = Patience(moving)
    ended: tuple[str, str] | None = None
    while ended is None:
        try:
            ended = process.communicate(timeout=1)
        except subprocess.TimeoutExpired:
            patience.check()
    output, errors = ended
    assert process.returncode == 0, _told(process, output + errors)
    return output


def wait_until(
    reached: Callable[[], bool], *processes: subprocess.Popen[str], moving: Callable[[], object] = lambda: None
) -> None:
    """Return when the condition holds. Fails if a process ends before, or if `moving` has one value for too long."""
    patience = Patience(moving)
    while not reached():
        for process in processes:
            if process.poll() is not None:
                raise AssertionError(_told(process, "".join(process.communicate())))
        patience.check()
        time.sleep(0.02)


def _told(process: subprocess.Popen[str], text: str) -> str:
    """Describe a process that has ended, with the last lines that it wrote."""
    last = "\n".join(text.splitlines()[-SHOWN_LINES:])
    return f"{process.args!r} ended with status {process.returncode}:\n{last}"
