"""Worker processes for tests: hired ready to go, started together, listened to, paused, and killed.

A worker runs one generator function of `workers`. Each value that it yields reaches the test at once. A value yielded
after a call therefore proves that the call had returned, whatever happens to the process later. An error in a worker
fails the test, with the worker's traceback.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from tests.acceptance.messages import Done, Failed, Paused, Ready, Said
from tests.acceptance.waiting import PATIENCE_SECONDS

ROOT = Path(__file__).parents[2]

Work = Callable[..., Iterator[Any]]


class WorkerFailed(AssertionError):
    """A worker raised, died or hung."""


class Worker:
    """One process with an open database connection. `said` lists the values that its function has yielded so far."""

    def __init__(self, line: Connection) -> None:
        self.line = line
        self.said: list[Any] = []
        self.is_finished = False
        ready = self.receive()
        assert isinstance(ready, Ready)
        self.pid = ready.pid

    def start(self, work: Work, *arguments: Any) -> None:
        """Start the worker's function."""
        self.line.send((work, arguments))

    def resume(self) -> None:
        """Continue after a pause."""
        self.line.send("go on")

    def stop(self) -> list[Any]:
        """Stop the function after its next value, and return all values."""
        self.line.send("stop")
        return finish(self)[0]

    def kill(self) -> list[Any]:
        """End it as ``kill -9`` does, at any point, and return all values from before."""
        os.kill(self.pid, signal.SIGKILL)
        return self.wait_for_death()

    def wait_for_death(self) -> list[Any]:
        """Return all values from before it ended or was killed."""
        with suppress(EOFError, ConnectionResetError):
            while not self.is_finished:
                self.receive()
        self.is_finished = True
        return self.said

    def wait_for_pause(self) -> None:
        """Return when its function has yielded a `Pause`."""
        while not isinstance(self.receive(), Paused):
            pass

    def listen(self, seconds: float) -> None:
        """Receive its messages for this long."""
        end = time.monotonic() + seconds
        while not self.is_finished and self.line.poll(max(0.0, end - time.monotonic())):
            self.receive()

    def receive(self) -> object:
        """Receive one message. Raises ``EOFError`` when the process is gone."""
        if not self.line.poll(PATIENCE_SECONDS):
            raise WorkerFailed(f"a worker hangs; before, it said {self.said[-3:]}")
        message = self.line.recv()
        if isinstance(message, Failed):
            self.is_finished = True
            raise WorkerFailed(f"a worker failed after it had said {self.said[-3:]}:\n{message.report}")
        if isinstance(message, Said):
            self.said.append(message.value)
        self.is_finished = isinstance(message, Done)
        return message


def listen(workers: Iterable[Worker], until: float | None) -> list[Worker]:
    """Receive messages of any workers, `until` a moment of the monotonic clock; return their senders."""
    by_line = {worker.line: worker for worker in workers}
    seconds = PATIENCE_SECONDS if until is None else max(0.0, until - time.monotonic())
    lines = wait(list(by_line), seconds)
    if until is None and not lines:
        raise WorkerFailed(f"{len(by_line)} workers hang")
    heard = [by_line[line] for line in lines if isinstance(line, Connection)]
    for worker in heard:
        worker.receive()
    return heard


def finish(*workers: Worker) -> list[list[Any]]:
    """Wait until all functions have returned; return each worker's values."""
    busy = {worker.line: worker for worker in workers if not worker.is_finished}
    while busy:
        # Read from any worker that has sent something: a worker that nobody reads blocks, and holds its locks.
        lines = wait(list(busy), PATIENCE_SECONDS)
        if not lines:
            raise WorkerFailed(f"{len(busy)} workers hang")
        for line in lines:
            assert isinstance(line, Connection)
            busy[line].receive()
            if busy[line].is_finished:
                del busy[line]
    return [worker.said for worker in workers]


class ForkServer:
    """Process that workers are forked from: one for the whole run, started at its first use."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._control, self._theirs = socket.socketpair()

    def start(self, environment: Mapping[str, str]) -> None:
        """Start it unless it runs."""
        if self._process is not None:
            return
        descriptor = self._theirs.fileno()
        command = [sys.executable, "-m", "tests.acceptance.fork_server", str(descriptor)]
        self._process = subprocess.Popen(command, cwd=ROOT, env=environment, pass_fds=[descriptor])
        self._theirs.close()

    def fork(self) -> Connection:
        """Fork a worker; return the connection to it."""
        ours, theirs = socket.socketpair()
        socket.send_fds(self._control, [b"1"], [theirs.fileno()])
        theirs.close()
        return Connection(ours.detach())

    def close(self) -> None:
        """End the process."""
        self._control.close()
        self._theirs.close()
        if self._process is not None:
            self._process.wait()


class Crew:
    """Workers of one test."""

    def __init__(self, server: ForkServer) -> None:
        self._server = server
        self._workers: list[Worker] = []

    def hire(self, count: int) -> list[Worker]:
        """Return workers that wait for their work, each with a database connection."""
        lines = [self._server.fork() for _ in range(count)]
        hired = [Worker(line) for line in lines]
        self._workers += hired
        return hired

    def start(self, work: Work, *arguments: Any) -> Worker:
        """Hire a worker and start it."""
        [worker] = self.hire(1)
        worker.start(work, *arguments)
        return worker

    def run(self, jobs: Sequence[tuple[Any, ...]]) -> list[list[Any]]:
        """Start one worker for each job (function and arguments), all at once; return the values of each."""
        hired = self.hire(len(jobs))
        for worker, job in zip(hired, jobs, strict=True):
            worker.start(*job)
        return finish(*hired)

    def dismiss(self) -> None:
        """Kill the workers that a failed test has left running: they may hold locks."""
        for worker in self._workers:
            if not worker.is_finished:
                with suppress(ProcessLookupError, WorkerFailed):
                    worker.kill()
            worker.line.close()
