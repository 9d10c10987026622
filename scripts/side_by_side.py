"""Runs programs side by side, and shows what they print as if they ran one after another."""

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
    """What to run; the title is printed before its output."""

    title: str
    command: Sequence[str]
    environment: Mapping[str, str]


@dataclass(frozen=True)
class Ended:
    """How a program ended, and all that it printed."""

    status: int
    output: str


def run_side_by_side(programs: Sequence[Program], jobs: int) -> list[Ended]:
    """Run them, so many at a time, begun in their order; return how each of them ended.

    Their output is never mixed: that of the first which has not ended is shown as it comes, and that of those after it
    when it is their turn.
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
            for one in running:
                one.end()
    return [Ended(one.status, one.output.decode(errors="replace")) for one in running]


def _show(running: Sequence[_Running]) -> None:
    for one in running:
        one.show()
        if not one.has_ended:
            return


class _Running:
    """A program in a session of its own.

    When we are interrupted, it alone gets the signal and can clean up, and what it then leaves behind is killed with
    the session.
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
        """Can be read from when there is output, or no more will come."""
        return self._stdout.fileno()

    @property
    def status(self) -> int:
        """Once it has ended."""
        return self._process.returncode

    def read(self) -> bool:
        """Take in what it has printed; return whether there may be more."""
        chunk = os.read(self.descriptor, 65536)
        self.output += chunk
        self._unseen += chunk
        if not chunk:
            self._process.wait()
            self.end()
        return bool(chunk)

    def show(self) -> None:
        """Print what it has printed since the last time."""
        sys.stdout.buffer.write(self._unseen)
        sys.stdout.buffer.flush()
        self._unseen = b""

    def end(self) -> None:
        """Interrupt it if it still runs, and kill what is left of its session."""
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
        # Mostly there is nothing left in the session.
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._stdout.close()
