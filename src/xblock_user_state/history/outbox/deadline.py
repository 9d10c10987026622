"""Gives up on a history database that does not answer: a deadline that this process keeps itself.

A server's own timeouts are kept by the server. One that is stopped, or whose disk is, keeps none; and its kernel goes
on to acknowledge what is sent there, so that no timeout of TCP expires either. Here a thread shuts the connection's
socket when the time is over, and the driver, which waits for it, raises.
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
    """Connect, if need be, and have what is done there fail as a lost connection does once so many seconds are over.

    To connect is bounded by the driver's own timeout. On SQLite each wait for a locked file is bounded instead, by
    `file_seconds` if they are given.
    """
    connection: BaseDatabaseWrapper = connections[alias]
    until = time.monotonic() + seconds
    # One that is open may be asked whether it is healthy.
    with _WATCHDOG.watches(connection, until):
        connection.ensure_connection()
    if connection.vendor == "sqlite":
        with _file_awaited(connection, seconds if file_seconds is None else file_seconds):
            yield
    else:
        with _WATCHDOG.watches(connection, until):
            yield


@contextmanager
def _file_awaited(connection: BaseDatabaseWrapper, seconds: float) -> Iterator[None]:
    """Wait so long, and no longer than its settings say, for a file that somebody else has locked."""
    # Not through Django's cursor: tests and logs of a host count those statements.
    raw: Any = connection.connection
    [before] = raw.execute("PRAGMA busy_timeout").fetchone()
    raw.execute(f"PRAGMA busy_timeout = {min(before, int(seconds * 1000))}")
    try:
        yield
    finally:
        if connection.connection is raw:
            raw.execute(f"PRAGMA busy_timeout = {before}")


class _Watchdog:
    """One thread of this process that shuts the sockets whose time is over.

    It sleeps until then: who comes and goes in time does not wake it, so to be watched costs microseconds.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew, in a process that was forked: threads are not."""
        self._news = Condition()
        self._watched: dict[socket.socket, float] = {}
        self._wakes_at = float("inf")
        self._thread: Thread | None = None

    @contextmanager
    def watches(self, connection: BaseDatabaseWrapper, until: float) -> Iterator[None]:
        """Shut the socket of a connection, if it has one, `until` when the block must have ended."""
        raw: Any = connection.connection
        if raw is None or connection.vendor == "sqlite":
            yield
            return
        with connection.wrap_database_errors:
            descriptor = raw.fileno()
        # One of our own: the driver's may be closed, and its number used again.
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
                self._thread = Thread(target=self._run, name="history deadline", daemon=True)
                self._thread.start()
            elif until < self._wakes_at:
                self._news.notify()

    def _remove(self, own: socket.socket) -> None:
        with self._news:
            self._watched.pop(own, None)

    def _run(self) -> None:
        with self._news:
            while True:
                now = time.monotonic()
                for own in [own for own, until in self._watched.items() if until <= now]:
                    del self._watched[own]
                    _shut(own)
                self._wakes_at = min(self._watched.values(), default=float("inf"))
                self._news.wait(None if self._wakes_at == float("inf") else self._wakes_at - now)


def _shut(own: socket.socket) -> None:
    try:
        own.shutdown(socket.SHUT_RDWR)
    except OSError:
        # It is closed on the other side already.
        return


_WATCHDOG = _Watchdog()
os.register_at_fork(after_in_child=_WATCHDOG.forget)
