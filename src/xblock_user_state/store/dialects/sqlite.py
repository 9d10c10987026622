"""SQLite: one writer at a time, so a write is an upsert inside a transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import chain

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import Error

from xblock_user_state.store.dialects.base import Dialect, Failure, Outcome, assignments, execute, matches
from xblock_user_state.store.dialects.rows import REVISION, Sql, Target, Write

# https://www.sqlite.org/rescode.html: the driver raises OperationalError for a busy database and for a missing table
# alike, so only the result code tells them apart.
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
    # A high limit: the number of parameters bounds a statement first (`_max_rows`).
    _max_text = 64 * 1024 * 1024

    def id_table(self, ids: Sequence[int]) -> Sql:
        """Return a FROM item that lists ids. SQLite names the columns of VALUES ``column1``, ``column2``."""
        if not ids:
            return "(SELECT NULL AS id WHERE 1 = 0) AS asked", []
        return f"(SELECT column1 AS id FROM (VALUES {', '.join(['(%s)'] * len(ids))})) AS asked", list(ids)

    def max_keys(self, connection: BaseDatabaseWrapper) -> int:
        """Return how many values a list may have: the parameter limit, less a statement's few other parameters."""
        return min(super().max_keys(connection), _max_parameters(connection) - 10)

    def store_at_once(self, write: Write) -> Outcome:
        """Write one row without history by one statement."""
        if not write.is_one_row:
            return Outcome.NOT_SENT
        return Outcome.STORED if self.store(write) else Outcome.LOST_RACE

    def _classified(self, error: Error) -> Failure | None:
        """Classify an error by SQLite's extended result code."""
        code = getattr(error.__cause__, "sqlite_errorcode", None)
        if code is None:
            return None
        if code in _DUPLICATE:
            return Failure.DUPLICATE
        # The low byte of an extended code is the primary code: SQLITE_BUSY_SNAPSHOT is a SQLITE_BUSY.
        primary = code & 0xFF
        if primary in _CONFLICT:
            return Failure.CONFLICT
        if primary == sqlite3.SQLITE_TOOBIG:
            return Failure.TOO_LARGE
        return Failure.UNAVAILABLE if primary in _UNAVAILABLE else None

    def has_rolled_back(self, connection: BaseDatabaseWrapper, error: Error) -> bool:
        """Ask the driver: a full disk or a trigger may roll back the transaction."""
        return connection.connection is not None and not connection.connection.in_transaction

    def _store_rows(self, write: Write) -> bool:
        target, layout, rows = write.rows.target, write.rows.target.layout, write.rows.values
        columns = ", ".join(f"column{number} AS {name}" for number, name in enumerate(layout.names, 1))
        values = ", ".join([f"({', '.join(['%s'] * len(target.columns))})"] * len(rows))
        condition, pinned = matches(self.pinned(layout, "old."), layout, write.matched), target.pinned_values()
        key = [str(field.column) for field in target.model._meta.pk_fields]
        # One upsert for inserts and updates: SQLite 3.31 has no UPDATE ... FROM, which came with 3.33. The WHERE keeps
        # rows to update that have no match from being inserted; the last WHERE keeps an insert from replacing a row
        # that exists. Both are skipped without an error, so the count of changed rows tells a lost race.
        sql = (
            f"INSERT INTO {target.table} AS old ({layout.every_name}) "
            f"SELECT {', '.join([*['%s'] * len(pinned), 'new.*'])} "
            f"FROM (SELECT {columns} FROM (VALUES {values})) AS new "
            f"WHERE new.{REVISION} = 1 OR EXISTS (SELECT 1 FROM {target.table} AS old WHERE {condition}) "
            f"ON CONFLICT ({', '.join(map(target.connection.ops.quote_name, key))}) "
            f"DO UPDATE SET {assignments(layout, write.matched, 'excluded')} "
            f"WHERE old.{REVISION} = excluded.{REVISION} - 1"
        )
        parameters = [*pinned, *chain.from_iterable(rows), *pinned]
        return execute(target.connection, sql, parameters) == len(rows)

    def _ignoring(self, insertion: Sql) -> Sql:
        sql, parameters = insertion
        return f"{sql} ON CONFLICT DO NOTHING", parameters

    def _max_rows(self, target: Target) -> int:
        # An upsert names the pinned values twice more, in its SELECT and in its condition.
        pinned = len(target.pinned)
        return (_max_parameters(target.connection) - 2 * pinned) // (len(target.columns) + pinned)


def _max_parameters(connection: BaseDatabaseWrapper) -> int:
    # The limit of the library in use. Django's feature flag says 999, the default before SQLite 3.32.
    connection.ensure_connection()
    return int(connection.connection.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER))
