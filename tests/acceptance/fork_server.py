"""The program that worker processes are forked from; `processes.Crew` starts and uses it.

    python -m tests.acceptance.fork_server FILE_DESCRIPTOR

It imports everything once, which takes a second, and never opens a database connection. Every socket that it
receives through the descriptor becomes the line to one more worker: a process with a connection of its own.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import traceback
from collections.abc import Iterator
from multiprocessing.connection import Connection

import django
from django.db import connection, connections

from tests.acceptance.messages import Done, Failed, Pause, Paused, Ready, Said


def main() -> None:
    django.setup()
    # What workers do is in modules that need the models. Each worker would import them when it receives its work.
    from tests.acceptance import relays, workers  # noqa: F401, PLC0415

    # What is there stays as it is in all workers: they share its memory, and do not look through it for garbage.
    gc.freeze()
    # Dead workers are nobody's business here: the test sees the end of the line.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(fileno=int(sys.argv[1])) as control:
        for line in _received(control):
            if os.fork() == 0:
                control.close()
                _become_worker(line)
            os.close(line)


def _received(control: socket.socket) -> Iterator[int]:
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        if not message:
            return
        yield from descriptors


def _become_worker(descriptor: int) -> None:
    status = 1
    try:
        with Connection(descriptor) as line:
            _work(line)
        status = 0
    finally:
        # Never back into the loop of the server that this process is a copy of.
        os._exit(status)


def _work(line: Connection) -> None:
    try:
        connection.ensure_connection()
        line.send(Ready(os.getpid()))
        work, arguments = line.recv()
        for value in work(*arguments):
            line.send(Paused() if isinstance(value, Pause) else Said(value))
            if isinstance(value, Pause):
                line.recv()
            elif line.poll():
                break
        connections.close_all()
        line.send(Done())
    except BaseException:
        line.send(Failed(traceback.format_exc()))
        raise


if __name__ == "__main__":
    main()
