"""SQLite: one writer at a time. A busy database and a missing table are errors of one class: the code tells them."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import chain

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import Error

from xblock_user_state.store.dialects.base import Dialect, Failure, Target, Values

_DUPLICATE = {sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_UNIQUE}
_CONFLICT = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_UNAVAILABLE = {
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_READONLY,
}


class SQLite(Dialect):
    """SQLite 3.33 and later (``UPDATE … FROM``)."""

    vendor = "sqlite"

    def max_keys(self, connection: BaseDatabaseWrapper) -> int:
        """Return how many values the parameter limit leaves beside a statement's few other ones."""
        return min(super().max_keys(connection), self._max_parameters(connection) - 10)

    def max_rows(self, target: Target) -> int:
        """Return how many rows the parameter limit allows."""
        a_row = len(target.columns) + len(target.pinned)
        return (self._max_parameters(target.connection) - len(target.pinned)) // a_row

    def _max_parameters(self, connection: BaseDatabaseWrapper) -> int:
        """Return the library's own limit of parameters: Django's figure is an old default."""
        connection.ensure_connection()
        return int(connection.connection.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER))

    def failure(self, error: Error) -> Failure | None:
        """Tell what an error means, by SQLite's result code."""
        code = getattr(error.__cause__, "sqlite_errorcode", None)
        if code is None:
            return None
        if code in _DUPLICATE:
            return Failure.DUPLICATE
        primary = code & 0xFF
        if primary in _CONFLICT:
            return Failure.CONFLICT
        return Failure.UNAVAILABLE if primary in _UNAVAILABLE else None

    def _update(self, target: Target, keys: Sequence[str], rows: Sequence[Values]) -> int:
        names = target.quoted(target.columns)
        selected = ", ".join(f"column{number} AS {name}" for number, name in enumerate(names, 1))
        values = ", ".join([self._placeholders(len(names))] * len(rows))
        sql = (
            f"UPDATE {target.table} AS old SET {self._assignments(target, keys)} "
            f"FROM (SELECT {selected} FROM (VALUES {values})) AS new WHERE {self._matches(target, keys, 'old', 'new')}"
        )
        return self._execute(target, sql, [*chain.from_iterable(rows), *target.pinned_values()])
