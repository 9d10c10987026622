"""Runs programs side by side, and prints their output as if they ran one after another."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from selectors import EVENT_READ, DefaultSelector

INTERRUPT_SECONDS = 30


@dataclass(frozen=True)
class Program:
    """A program to run; its title is printed before its output."""

    title: str
    command: Sequence[str]
    environment: Mapping[str, str]


@dataclass(frozen=True)
class Ended:
    """The exit status and the whole output of a program."""

    status: int
    output: str


def run_side_by_side(programs: Sequence[Program], jobs: int) -> list[Ended]:
    """Run `programs`, at most `jobs` at a time, and return their results in the same order.

    Outputs are never mixed: output of the first running program is printed at once, output of later programs when it is
    their turn.
    """
    waiting = list(programs)
    running: list[_Running] = []
    with DefaultSelector() as outputs:
        try:
            while waiting or outputs.get_map():
                while waiting and len(outputs.get_map()) < jobs:
                    running.append(_Running(waiting.pop(0)))
                    outputs.register(running[-1].descriptor, EVENT_READ, running[-1])
                _show(running)
                for key, _ in outputs.select():
                    if not key.data.read():
                        outputs.unregister(key.fd)
            _show(running)
        finally:
            for program in running:
                program.end()
    return [Ended(program.status, program.output.decode(errors="replace")) for program in running]


def _show(running: Sequence[_Running]) -> None:
    for program in running:
        program.show()
        if not program.has_ended:
            return


class _Running:
    """A running program in a new session.

    After an interruption `end` signals the program alone, so that it can clean up, and then kills the rest of its
    session.
    """

    def __init__(self, program: Program) -> None:
        self._process = subprocess.Popen(
            program.command,
            env=program.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        self._stdout = self._process.stdout
        self._unseen = f"\n{program.title}\n".encode()
        self.output = bytearray()
        self.has_ended = False

    @property
    def descriptor(self) -> int:
        """The descriptor to select on: it is readable on output and at its end."""
        return self._stdout.fileno()

    @property
    def status(self) -> int:
        """The exit status; valid after the end of the output."""
        return self._process.returncode

    def read(self) -> bool:
        """Read some output; return whether there may be more."""
        chunk = os.read(self.descriptor, 65536)
        self.output += chunk
        self._unseen += chunk
        if not chunk:
            self._process.wait()
            self.end()
        return bool(chunk)

    def show(self) -> None:
        """Print the output that was read since the last call."""
        sys.stdout.buffer.write(self._unseen)
        sys.stdout.buffer.flush()
        self._unseen = b""

    def end(self) -> None:
        """Interrupt the program if it still runs, and kill the rest of its session."""
        if self.has_ended:
            return
        self.has_ended = True
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(timeout=INTERRUPT_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        # Usually the session is empty by now.
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._stdout.close()
