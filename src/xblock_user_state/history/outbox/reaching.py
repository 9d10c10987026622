"""Reaches the history database before rows of the outbox are locked."""

from __future__ import annotations

from django.db import connections, transaction
from django.db.utils import Error

from xblock_user_state import conf
from xblock_user_state.history.entries import extended_model, has_extended_table, take_write_lock
from xblock_user_state.history.outbox.answers import BATCH_SECONDS, HistoryUnavailable, described
from xblock_user_state.history.outbox.deadline import answer_expected


def reach_history(seconds: float) -> None:
    """Connect to the history database. Raises `HistoryUnavailable`."""
    alias = conf.history_database()
    try:
        with answer_expected(alias, seconds):
            return
    except Error as error:
        # Any reason counts, a wrong password too: entries wait until an operator has changed something.
        raise HistoryUnavailable(described(error)) from error


def need_table() -> None:
    """Raise `HistoryUnavailable` if the history database has no table for the history, or can't be reached.

    Shipping itself notices a missing table only when entries wait.
    """
    alias = conf.history_database()
    try:
        with answer_expected(alias, BATCH_SECONDS):
            is_there = has_extended_table()
    except Error as error:
        raise HistoryUnavailable(described(error)) from error
    if not is_there:
        raise HistoryUnavailable(f"{alias!r}: it has no table {extended_model()._meta.db_table!r}")


def await_file(seconds: float) -> None:
    """Wait until no other connection locks the SQLite file of the history. Raises `HistoryUnavailable`."""
    alias = conf.history_database()
    if connections[alias].features.has_select_for_update:
        return
    try:
        with answer_expected(alias, seconds), transaction.atomic(using=alias):
            take_write_lock(alias, extended_model())
    except Error as error:
        raise HistoryUnavailable(described(error)) from error
