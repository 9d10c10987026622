"""Waiting for processes, with a limit."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable

PATIENCE_SECONDS = 120
# A traceback with its causes.
SHOWN_LINES = 80


def finished(process: subprocess.Popen[str]) -> str:
    """Wait for a process, expect success, and return its output."""
    output, errors = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0, _told(process, output + errors)
    return output


def wait_until(
    reached: Callable[[], bool], *processes: subprocess.Popen[str], moving: Callable[[], object] = lambda: None
) -> None:
    """Return when the condition holds. Fails if a process ends before, or if `moving` has one value for too long.

    On a busy machine work takes long. Work that stands still is a fault.
    """
    seen, since = moving(), time.monotonic()
    while not reached():
        for process in processes:
            if process.poll() is not None:
                raise AssertionError(_told(process, "".join(process.communicate())))
        if (now := moving()) != seen:
            seen, since = now, time.monotonic()
        assert time.monotonic() < since + PATIENCE_SECONDS, f"learners or relays wait: {seen}"
        time.sleep(0.02)


def _told(process: subprocess.Popen[str], text: str) -> str:
    """Describe a process that has ended, with the last lines that it wrote."""
    last = "\n".join(text.splitlines()[-SHOWN_LINES:])
    return f"{process.args!r} ended with status {process.returncode}:\n{last}"
