"""Program that forks worker processes; `processes.Crew` starts and uses it.

    python -m tests.acceptance.fork_server FILE_DESCRIPTOR

It imports everything once, which takes a second, and never opens a database connection. For every socket that it
receives through the descriptor it forks a worker, which talks to the test over that socket.
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
    # The workers' functions need the models. Import them here once, or each worker would.
    from tests.acceptance import relays, workers  # noqa: F401, PLC0415

    # Workers share this memory. Freezing it keeps their garbage collectors from touching, and so copying, its pages.
    gc.freeze()
    # Nobody waits for dead workers: the test sees their sockets close.
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
        # Exit here: the child must never return into the server's loop.
        os._exit(status)


def _choose_server() -> None:
    """Connect to one of the servers whose ports the environment names, by the number of the process."""
    ports = os.environ.get("WORKER_PORTS", "").split()
    if ports:
        connection.settings_dict["PORT"] = ports[os.getpid() % len(ports)]


def _work(line: Connection) -> None:
    try:
        _choose_server()
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
