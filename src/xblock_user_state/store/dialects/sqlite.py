"""SQLite: one writer at a time. A busy database and a missing table are errors of one class: the code tells them."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import chain

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import Error

from xblock_user_state.store.dialects.base import Dialect, Failure
from xblock_user_state.store.dialects.rows import Sql, Target, Values

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
    """SQLite 3.31 and later."""

    vendor = "sqlite"
    # The number of parameters is what bounds a statement, see `max_rows`.
    max_text = 64 * 1024 * 1024

    def max_keys(self, connection: BaseDatabaseWrapper) -> int:
        """Return how many values the parameter limit leaves beside a statement's few other ones."""
        return min(super().max_keys(connection), self._max_parameters(connection) - 10)

    def max_rows(self, target: Target) -> int:
        """Return how many rows the parameter limit allows."""
        pinned = len(target.pinned)
        return (self._max_parameters(target.connection) - 2 * pinned) // (len(target.columns) + pinned)

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

    def listed(self, ids: Sequence[int]) -> Sql:
        """Return what is selected from to have numbers as a table."""
        return f"(SELECT column1 AS id FROM (VALUES {', '.join(['(%s)'] * len(ids))})) AS asked", list(ids)

    def _store(self, target: Target, keys: Sequence[str], rows: Sequence[Values]) -> bool:
        # New rows and old ones in one statement. A new row that is there, and an old one that is not there as expected,
        # changes nothing, and is missing in the count.
        columns = ", ".join(f"column{number} AS {name}" for number, name in enumerate(target.layout.names, 1))
        values = ", ".join([f"({', '.join(['%s'] * len(target.columns))})"] * len(rows))
        matches, pinned = self.matches(target, keys)
        key = [str(field.column) for field in target.model._meta.pk_fields]
        sql = (
            f"INSERT INTO {target.table} AS old ({target.every_name}) "
            f"SELECT {', '.join([*['%s'] * len(pinned), 'new.*'])} "
            f"FROM (SELECT {columns} FROM (VALUES {values})) AS new "
            f"WHERE new.revision = 1 OR EXISTS (SELECT 1 FROM {target.table} AS old WHERE {matches}) "
            f"ON CONFLICT ({', '.join(map(target.connection.ops.quote_name, key))}) "
            f"DO UPDATE SET {self.assignments(target, keys, 'excluded')} WHERE old.revision = excluded.revision - 1"
        )
        parameters = [*pinned, *chain.from_iterable(rows), *pinned]
        return self.execute(target.connection, sql, parameters) == len(rows)

    def _ignoring(self, insertion: Sql) -> Sql:
        sql, parameters = insertion
        return f"{sql} ON CONFLICT DO NOTHING", parameters
