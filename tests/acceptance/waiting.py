"""Waiting for processes, with a limit."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable

PATIENCE_SECONDS = 120


def finished(process: subprocess.Popen[str]) -> str:
    """Wait for a process, expect success, and return its output."""
    output, errors = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0, output + errors
    return output


def wait_until(reached: Callable[[], bool], *processes: subprocess.Popen[str]) -> None:
    """Return when the condition holds. Fails if one of the processes ends before, or if the wait is too long."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not reached():
        for process in processes:
            assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "learners or relays wait"
        time.sleep(0.02)
