"""PostgreSQL: rows travel as one parameter for each column, and a write is one statement.

A statement outside a transaction is a transaction by itself, so a write takes one round trip.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import Error, InterfaceError, OperationalError

from xblock_user_state.store.dialects.base import Dialect, Failure, Outcome, assignments, execute, matches
from xblock_user_state.store.dialects.rows import (
    REVISION,
    Convert,
    Rows,
    Sql,
    Target,
    Values,
    Write,
    convert_runs,
    microseconds_to_time,
)

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_DUPLICATE = {"23505"}
_CONFLICT = {
    "40001",  # serialization_failure
    "40P01",  # deadlock_detected
    "55P03",  # lock_not_available (lock_timeout)
}
_UNAVAILABLE = {
    "25006",  # read_only_sql_transaction: connected to a standby
    "25P03",  # idle_in_transaction_session_timeout
    "25P04",  # transaction_timeout
}
_UNAVAILABLE_CLASSES = {
    "08",  # connection exception
    "53",  # insufficient resources
    "57",  # operator intervention (shutdown, crash of another process)
    "58",  # system error
}

_TEXTS = {"text", "varchar"}
# Mark the items of a joined text and NULL. JSON escapes control characters; for keys `_array` looks.
_SEPARATOR, _NULL = "\x1e", "\x1f"


class PostgreSQL(Dialect):
    """PostgreSQL 14 and later, through psycopg 3."""

    vendor = "postgresql"
    # A statement's text is in memory several times, in the driver and in the server.
    _max_text = 64 * 1024 * 1024
    errors_end_transactions = True

    def in_list(self, column: str, values: Sequence[Any]) -> Sql:
        """Return the condition that a column has one of the values, which travel as one parameter."""
        if not values:
            return super().in_list(column, values)
        array, parameters = _array("text" if isinstance(values[0], str) else "bigint", values)
        return f"{column} = ANY({array})", parameters

    def id_table(self, ids: Sequence[int]) -> Sql:
        """Return a FROM item that lists ids."""
        array, parameters = _array("bigint", ids)
        return f"unnest({array}) AS asked (id)", parameters

    def select_expression(
        self, name: str, field: models.Field[Any, Any], connection: BaseDatabaseWrapper
    ) -> tuple[str, Convert | None]:
        """Select times as microseconds: Django's loader would parse each of them from text, in Python."""
        if not isinstance(field, models.DateTimeField):
            return name, None
        return f"(extract(epoch FROM {name}) * 1000000)::bigint", microseconds_to_time

    def insert_missing(self, rows: Rows, parents: Rows, reference: str) -> int:
        """Insert missing parents and rows by one statement, if it takes them."""
        if len(rows.values) > self._max_rows(rows.target):
            return super().insert_missing(rows, parents, reference)
        quote = rows.target.connection.ops.quote_name
        key, *others = parents.target.layout.names
        statement = _Statement()
        sql, parameters = self._ignoring(self._insertion(parents.target, parents.values))
        statement.add("inserted", f"{sql} RETURNING {key}", parameters)
        given, parameters = _row_table(parents.target, parents.values)
        is_same = " AND ".join(f"parent.{name} = new.{name}" for name in (key, *others))
        # All parts of a statement see one snapshot, so `parent` lacks the rows that `inserted` has just added.
        # https://www.postgresql.org/docs/current/queries-with.html
        stored = f"SELECT new.{key} FROM {parents.target.table} AS parent, {given} WHERE {is_same}"
        statement.add("valid", f"SELECT {key} FROM inserted UNION ALL {stored}", parameters)
        sql, parameters = self._insertion(rows.target, rows.values)
        sql, parameters = self._ignoring(
            (f"{sql} WHERE new.{quote(reference)} IN (SELECT {key} FROM valid)", parameters)
        )
        return execute(rows.target.connection, f"{statement} {sql}", [*statement.parameters, *parameters])

    def store(self, write: Write) -> bool:
        """Write rows and history, by one statement if it takes them."""
        return self._store_all(write) if self._fits(write) else super().store(write)

    def store_at_once(self, write: Write) -> Outcome:
        """Write and commit by one statement, which is a transaction by itself."""
        if not write.rows.target.connection.get_autocommit() or not self._fits(write):
            return Outcome.NOT_SENT
        return Outcome.STORED if self._store_all(write) else Outcome.LOST_RACE

    def failure(self, error: Error) -> Failure | None:
        """Classify an error by its SQLSTATE."""
        cause = error.__cause__
        # psycopg2, which a check refuses, has another name for it.
        state = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
        if state is None:
            # The server sent no answer: the connection is broken, or was never made.
            return Failure.UNAVAILABLE if isinstance(error, OperationalError | InterfaceError) else None
        if state in _DUPLICATE:
            return Failure.DUPLICATE
        if state in _CONFLICT:
            return Failure.CONFLICT
        # program limit exceeded
        if state[:2] == "54":
            return Failure.TOO_LARGE
        return Failure.UNAVAILABLE if state in _UNAVAILABLE or state[:2] in _UNAVAILABLE_CLASSES else None

    def _store_rows(self, write: Write) -> bool:
        return self._store_all(write)

    def _store_all(self, write: Write) -> bool:
        """Write rows and history by one statement; return whether every row was as expected.

        Each part of the statement that writes is guarded by the number of rows that matched, so all of them write or
        none. An error would do too, but it would end a caller's transaction.
        """
        target = write.rows.target
        created, updated = write.split()
        statement = _Statement()
        row_table, parameters = _row_table(target, write.rows.values)
        statement.add("new", f"SELECT * FROM {row_table}", parameters)
        guard = self._add_update(statement, write, len(updated)) if updated else "true"
        if created:
            sql = f"INSERT INTO {target.table} ({target.every_name}) SELECT {_selected(target)} FROM new"
            statement.add("created", f"{sql} WHERE new.{REVISION} = 1 AND {guard} RETURNING 1", target.pinned_values())
        if write.history:
            sql, parameters = self._insertion(write.history.target, write.history.values)
            # PostgreSQL runs parts that nobody reads last, the last of them first. Reading `created` keeps rows before
            # history, as other writers lock them.
            after = f" AND (SELECT count(*) FROM created) = {len(created)}" if created else ""
            statement.add("recorded", f"{sql} WHERE {guard}{after}", parameters)
        with target.connection.cursor() as cursor:
            cursor.execute(f"{statement} SELECT {guard}", statement.parameters)
            [is_stored] = cursor.fetchone()
        return bool(is_stored)

    def _add_update(self, statement: _Statement, write: Write, count: int) -> str:
        """Add the update of `count` rows, and return the guard: the condition that all of them matched."""
        target = write.rows.target
        condition, pinned = matches(write)
        update = f"UPDATE {target.table} AS old SET {assignments(write, 'new')} FROM new WHERE {condition}"
        # A single row can't deadlock with itself, and needs no lock before its update.
        if count == len(write.rows.values) == 1:
            statement.add("updated", f"{update} RETURNING 1", pinned)
            return "EXISTS (SELECT FROM updated)"
        # An UPDATE locks rows in the order of its plan, so two of them could deadlock. This part locks all rows in the
        # order of their keys, as every writer does, before the first is written.
        order = ", ".join(f"new.{name}" for name in map(target.connection.ops.quote_name, write.matched)) or "1"
        locked = f"SELECT 1 FROM {target.table} AS old, new WHERE {condition} ORDER BY {order} FOR UPDATE OF old"
        # FOR UPDATE and count() can't stand in one query, hence the subquery.
        statement.add("locked", f"SELECT count(*) AS number FROM ({locked}) AS old", pinned)
        guard = f"(SELECT number FROM locked) = {count}"
        statement.add("updated", f"{update} AND {guard}", pinned)
        return guard

    def _ignoring(self, insertion: Sql) -> Sql:
        sql, parameters = insertion
        return f"{sql} ON CONFLICT DO NOTHING", parameters

    def _max_rows(self, target: Target) -> int:
        # Arrays need no parameter for each row; the bound keeps the server's memory for a statement small.
        return 10_000

    def _adapted(self, target: Target, rows: Sequence[Values]) -> Sequence[Values]:
        # `_row_table` does it, and `_array` writes the texts of times and bytes itself.
        return rows

    def _insertion(self, target: Target, rows: Sequence[Values]) -> Sql:
        """Return the statement that inserts rows. A condition on ``new`` may follow it."""
        row_table, parameters = _row_table(target, rows)
        sql = f"INSERT INTO {target.table} ({target.every_name}) SELECT {_selected(target)} FROM {row_table}"
        return sql, [*target.pinned_values(), *parameters]


class _Statement:
    """A WITH clause that is built part by part, and its parameters."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self.parameters: list[Any] = []

    def add(self, name: str, sql: str, parameters: Sequence[Any]) -> None:
        self._parts.append(f"{name} AS ({sql})")
        self.parameters += parameters

    def __str__(self) -> str:
        return f"WITH {', '.join(self._parts)}"


def _selected(target: Target) -> str:
    """Return the SELECT list of an insertion from ``new``: placeholders of the pinned values, then all columns."""
    return ", ".join([*["%s"] * len(target.pinned), "new.*"])


def _row_table(target: Target, rows: Sequence[Values]) -> Sql:
    """Return a FROM item that lists rows under the name ``new``, from one array for each column."""
    # Without rows there are still columns, each of no values.
    columns = list(zip(*rows, strict=True)) or [()] * len(target.columns)
    layout = target.layout
    arrays = []
    for db_type, adapter, values in zip(layout.types, layout.adapters, columns, strict=True):
        if adapter is None or db_type in _ITEMS:
            arrays.append(_array(db_type, values))
        else:
            arrays.append(_array(db_type, [*map(adapter(target.connection), values)]))
    sql = f"unnest({', '.join(sql for sql, _ in arrays)}) AS new ({', '.join(target.layout.names)})"
    return sql, [value for _, values in arrays for value in values]


def _numbers(values: Iterable[float | None]) -> str:
    return ",".join(map(str, values)).replace("None", "NULL")


def _times(values: Iterable[datetime]) -> str:
    return ",".join([f'"{text}"' for text in convert_runs(str, values)])


def _bytes(values: Iterable[bytes | None]) -> str:
    # The backslash of bytea's hex format is doubled, because an array's text has escapes of its own.
    return ",".join(["NULL" if value is None else f'"\\\\x{value.hex()}"' for value in values])


# Writers of array texts, by type. Texts that callers chose are not among them: they would need escaping.
_ITEMS: Mapping[str, Callable[[Iterable[Any]], str]] = {"bytea": _bytes, "timestamp with time zone": _times}


def _array(db_type: str, values: Sequence[Any]) -> Sql:
    """Return an array of values as one parameter."""
    if db_type not in _TEXTS:
        items = _ITEMS.get(db_type, _numbers)
        return f"%s::{db_type}[]", [f"{{{items(values)}}}"]
    # A block type may be any text: where one holds a mark, the texts travel one by one.
    if any(text is not None and (_SEPARATOR in text or _NULL in text) for text in values):
        return f"ARRAY[{', '.join(['%s'] * len(values))}]::{db_type}[]", list(values)
    # The server cuts one string. psycopg would escape a list item by item in Python, a microsecond for each quote in
    # a JSON text, and the server would parse the escapes again.
    joined = _SEPARATOR.join(_NULL if text is None else text for text in values)
    return f"string_to_array(%s, E{_SEPARATOR!r}, E{_NULL!r})", [joined]
