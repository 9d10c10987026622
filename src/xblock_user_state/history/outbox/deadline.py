"""Deadlines for the history database, kept by this process: a thread shuts the socket of a connection that is late.

No other timeout is enough. A statement timeout is kept by the server, and a server that is stopped, or whose disk
hangs, keeps none. TCP timeouts do not expire either: the server's kernel goes on acknowledging packets. Drivers differ
in read timeouts, and psycopg has none. A socket that is shut ends the read of every driver at once, with an error that
Django knows as a lost connection.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition, Thread
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper


@contextmanager
def answer_expected(alias: str, seconds: float, file_seconds: float | None = None) -> Iterator[None]:
    """Connect if necessary, and run the block with a deadline: after `seconds` its statements lose their connection.

    The deadline does not cover making a connection, which the driver's own timeout must bound. On SQLite it bounds each
    wait for a locked file instead; `file_seconds` overrides it there.
    """
    connection: BaseDatabaseWrapper = connections[alias]
    until = time.monotonic() + seconds
    # An open connection is watched here too: with CONN_HEALTH_CHECKS Django sends it a statement before its first use.
    with _WATCHDOG.watches(connection, until):
        connection.ensure_connection()
    # A new connection had no socket above, so watch it now. Both blocks share one deadline.
    if connection.vendor == "sqlite":
        with _file_awaited(connection, seconds if file_seconds is None else file_seconds):
            yield
    else:
        with _WATCHDOG.watches(connection, until):
            yield


@contextmanager
def _file_awaited(connection: BaseDatabaseWrapper, seconds: float) -> Iterator[None]:
    """Wait at most so many seconds for a file that another connection has locked, and never longer than configured."""
    # Not through Django's cursor, so that a host's tests and logs of statements don't count the PRAGMAs.
    raw: Any = connection.connection
    [before] = raw.execute("PRAGMA busy_timeout").fetchone()
    raw.execute(f"PRAGMA busy_timeout = {min(before, int(seconds * 1000))}")
    try:
        yield
    finally:
        # The block may have closed the connection, or replaced it.
        if connection.connection is raw:
            raw.execute(f"PRAGMA busy_timeout = {before}")


class _Watchdog:
    """A daemon thread that shuts sockets after their deadline.

    It sleeps until the earliest deadline. A block that ends in time does not wake it, so watching costs microseconds.

    Closing another thread's connection has two dangers. A ``close`` would take away a descriptor that the driver still
    uses: hence ``shutdown``, after which the driver reads an end of file. And a driver that closes its descriptor
    meanwhile frees the number, which may then be another file: hence a duplicate of the descriptor, made by ``dup``.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Start over without a thread. A forked child has none: ``fork`` copies only the thread that calls it."""
        # A new lock as well: the parent's may have been held at the fork, and nobody in the child would release it.
        self._news = Condition()
        self._watched: dict[socket.socket, float] = {}
        self._wakes_at = float("inf")
        self._thread: Thread | None = None

    @contextmanager
    def watches(self, connection: BaseDatabaseWrapper, until: float) -> Iterator[None]:
        """Shut the socket of a connection, if it has one, unless the block ends before `until`."""
        raw: Any = connection.connection
        if raw is None or connection.vendor == "sqlite":
            yield
            return
        # A connection that has broken already has no descriptor: the driver's error becomes Django's.
        with connection.wrap_database_errors:
            descriptor = raw.fileno()
        # Leaving this block closes the duplicate only. Both descriptors name the same socket, so a shutdown of the
        # duplicate reaches the driver.
        with socket.socket(fileno=os.dup(descriptor)) as own:
            self._add(own, until)
            try:
                yield
            finally:
                self._remove(own)

    def _add(self, own: socket.socket, until: float) -> None:
        with self._news:
            self._watched[own] = until
            if self._thread is None:
                # Started on first use: a process without an extended history has no thread. A daemon thread does not
                # keep the process from ending.
                self._thread = Thread(target=self._run, name="history deadline", daemon=True)
                self._thread.start()
            # A later deadline needs no wake-up: the thread looks at all deadlines when it wakes for the earlier one.
            elif until < self._wakes_at:
                self._news.notify()

    def _remove(self, own: socket.socket) -> None:
        # Under the lock, as the shutdown is: after this the thread no longer touches the socket, so a late shutdown
        # never hits the next statement on the connection.
        with self._news:
            self._watched.pop(own, None)

    def _run(self) -> None:
        with self._news:
            while True:
                now = time.monotonic()
                for own in [own for own, until in self._watched.items() if until <= now]:
                    del self._watched[own]
                    _shut(own)
                # `wait` releases the lock while it sleeps.
                self._wakes_at = min(self._watched.values(), default=float("inf"))
                self._news.wait(None if self._wakes_at == float("inf") else self._wakes_at - now)


def _shut(own: socket.socket) -> None:
    try:
        own.shutdown(socket.SHUT_RDWR)
    except OSError:
        # The other side has closed it already.
        return


_WATCHDOG = _Watchdog()
os.register_at_fork(after_in_child=_WATCHDOG.forget)
