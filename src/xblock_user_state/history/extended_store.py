"""Reads from the extended history, whose database may be down or stalled.

Each read has a deadline, and a breaker spares readers the wait while the database is known to be down.
"""

from __future__ import annotations

import time

from django.db import connections
from django.db.utils import Error

from xblock_user_state import conf
from xblock_user_state.history.entries import extended_model
from xblock_user_state.history.outbox.breaker import READING
from xblock_user_state.history.outbox.deadline import answer_expected
from xblock_user_state.history.window import Entries, Window
from xblock_user_state.interface import ServiceUnavailable


class HistoryUnreadable(ServiceUnavailable):
    """A part of the history is in the history database only, which can't be reached."""


def read_extended(window: Window) -> Entries:
    """Return the entries that the extended history has in a window. One statement.

    Raises `HistoryUnreadable` if the history database fails, and without asking it if it failed a moment ago.
    """
    if not READING.lets_through():
        raise HistoryUnreadable(_message("it failed a moment ago"))
    try:
        found = _read_with_reconnect(window)
    except Error as error:
        READING.failed(error)
        raise HistoryUnreadable(_message(error)) from error
    READING.succeeded()
    return found


def _read_with_reconnect(window: Window) -> Entries:
    """Read; if an old connection turns out to be broken, connect again and read once more."""
    alias, seconds = conf.history_database(), conf.history_timeout()
    until = time.monotonic() + seconds
    had_connection = connections[alias].connection is not None
    try:
        return _read(window, alias, seconds)
    except Error:
        # Drop a broken connection, so that the next read makes a new one. A sound connection stays.
        connections[alias].close_if_unusable_or_obsolete()
        was_dropped = had_connection and connections[alias].connection is None
        if not was_dropped or time.monotonic() >= until:
            raise
    # The connection broke while it was idle, which does not mean that the database is down.
    return _read(window, alias, seconds)


def _read(window: Window, alias: str, seconds: float) -> Entries:
    with answer_expected(alias, seconds):
        return window.read(extended_model(), alias)


def _message(reason: object) -> str:
    alias = conf.history_database()
    return f"a part of the history is in the database {alias!r}, which can't be reached: {reason}"
