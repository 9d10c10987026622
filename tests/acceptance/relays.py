"""Worker functions for the relay's tests: see `workers`."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from io import StringIO
from typing import Any

from django.core.management import call_command
from django.db import connections

from tests.acceptance.messages import Pause
from xblock_user_state.history.outbox.relay import Relay


def relay(*arguments: str) -> Iterator[str]:
    """Run the command; yield its output."""
    output = StringIO()
    call_command("relay_history", *arguments, stdout=output)
    yield output.getvalue()


def relay_until_death(statement: int, moment: str, *arguments: str) -> Iterator[str]:
    """Run the command, and die before or after its nth statement; with fewer statements, yield the output."""
    executioner = _Executioner(statement, moment)
    with ExitStack() as stack:
        for alias in connections:
            stack.enter_context(connections[alias].execute_wrapper(executioner))
        yield from relay(*arguments)


class _Executioner:
    """Kills the process before or after its nth statement, on any database."""

    def __init__(self, statement: int, moment: str) -> None:
        self._left = statement
        self._moment = moment

    def __call__(self, execute: Callable[..., Any], *arguments: Any) -> Any:
        self._left -= 1
        if self._left == 0 and self._moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = execute(*arguments)
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return result


def ship_with_a_break(size: int) -> Iterator[Any]:
    """Ship in batches, yield the number of rows of each, and pause after the first."""
    for number, rows in enumerate(Relay("default", size).once()):
        yield rows
        if number == 0:
            yield Pause()
