"""PostgreSQL: rows travel as one parameter for each column, and a write is one statement.

A statement outside a transaction is a transaction by itself, so a write takes one round trip.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import count, islice, repeat
from typing import Any, NamedTuple

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import Error, InterfaceError, OperationalError

from xblock_user_state.store.dialects import distribution, preparing
from xblock_user_state.store.dialects.base import Dialect, Failure, Outcome, assignments, execute, matches
from xblock_user_state.store.dialects.rows import (
    REVISION,
    Convert,
    Layout,
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
# Separate the items of a joined text, and mark NULL. JSON escapes control characters, and keys have none.
_SEPARATOR, _NULL = "\x1e", "\x1f"


class PostgreSQL(Dialect):
    """PostgreSQL 14 and later, through psycopg 3."""

    vendor = "postgresql"
    # A statement's text is in memory several times, in the driver and in the server.
    _max_text = 64 * 1024 * 1024
    errors_end_transactions = True

    def in_list(self, column: str, values: Sequence[Any], *, keep_plan: bool = False) -> Sql:
        """Return the condition that a column has one of the values, which travel as one parameter."""
        if not values:
            return super().in_list(column, values)
        if isinstance(values[0], str):
            array, db_type, parameters = _TEXT_ARRAY, "text[]", [*_joined(values)]
        else:
            array, db_type, parameters = "%s::bigint[]", "bigint[]", [f"{{{_numbers(values)}}}"]
        # Without the cast, ANY would take the query for a list of rows.
        return f"{column} = ANY({f'{_hidden(array)}::{db_type}' if keep_plan else array})", parameters

    def pinned(self, layout: Layout, prefix: str = "") -> list[str]:
        """Return the conditions on the pinned columns."""
        return _pinned(layout, prefix)

    def id_table(self, ids: Sequence[int]) -> Sql:
        """Return a FROM item that lists ids."""
        return f"unnest({_hidden('%s::bigint[]')}) AS asked (id)", [f"{{{_numbers(ids)}}}"]

    def select_expression(
        self, name: str, field: models.Field[Any, Any], connection: BaseDatabaseWrapper
    ) -> tuple[str, Convert | None]:
        """Select times as microseconds: Django's loader would parse each of them from text, in Python."""
        if not isinstance(field, models.DateTimeField):
            return name, None
        return f"(extract(epoch FROM {name}) * 1000000)::bigint", microseconds_to_time

    def fetch(self, connection: BaseDatabaseWrapper, sql: str, parameters: Sequence[Any]) -> Sequence[Values]:
        """Run a query, by a prepared statement if the connection keeps them."""
        try:
            return self._fetch(connection, sql, parameters)
        except Error as error:
            if distribution.learns_from(connection, error):
                raise distribution.Outdated(*error.args) from error.__cause__
            raise

    def insert_missing(self, rows: Rows, parents: Rows, reference: str) -> int:
        """Insert missing parents and rows by one statement, if it takes them."""
        if len(rows.values) > self._max_rows(rows.target):
            return super().insert_missing(rows, parents, reference)
        [name] = rows.target.layout.names_of([reference])
        sql, of_parents = _registering(rows.target.layout, parents.target.layout, name), arrays(parents)
        return execute(rows.target.connection, sql, [*of_parents, *of_parents, *arrays(rows)])

    def store(self, write: Write) -> bool:
        """Write rows and history, by one statement if it takes them."""
        return self._store_all(write) if self._fits(write) else super().store(write)

    def store_at_once(self, write: Write) -> Outcome:
        """Write and commit by one statement, which is a transaction by itself."""
        if not write.rows.target.connection.get_autocommit() or not self._fits(write):
            return Outcome.NOT_SENT
        return Outcome.STORED if self._store_all(write) else Outcome.LOST_RACE

    def _classified(self, error: Error) -> Failure | None:
        """Classify an error by its SQLSTATE."""
        state = sqlstate(error)
        if state is None:
            # The server sent no answer: the connection is broken, or was never made.
            return Failure.UNAVAILABLE if isinstance(error, OperationalError | InterfaceError) else None
        # Citus copies the rows of INSERT .. SELECT to its servers, and loses the SQLSTATE.
        if state in _DUPLICATE or (state == "XX000" and "duplicate key value" in str(error)):
            return Failure.DUPLICATE
        if isinstance(error, distribution.Outdated):
            return Failure.OUTDATED
        if state in _CONFLICT or preparing.has_failed(error):
            return Failure.CONFLICT
        # program limit exceeded
        if state[:2] == "54":
            return Failure.TOO_LARGE
        return Failure.UNAVAILABLE if state in _UNAVAILABLE or state[:2] in _UNAVAILABLE_CLASSES else None

    def _fetch(self, connection: BaseDatabaseWrapper, sql: str, parameters: Sequence[Any]) -> Sequence[Values]:
        if not preparing.is_on(connection):
            return super().fetch(connection, sql, parameters)
        try:
            return preparing.fetch(connection, sql, parameters)
        except Error as error:
            if not preparing.has_failed(error):
                raise
            preparing.turn_off(connection)
            # The error has ended a transaction, which only its owner can repeat.
            if not connection.get_autocommit():
                raise
        return super().fetch(connection, sql, parameters)

    def _store_rows(self, write: Write) -> bool:
        return self._store_all(write)

    def _store_all(self, write: Write) -> bool:
        """Write rows and history by one statement; return whether every row was as expected."""
        target = write.rows.target
        created, updated = write.split()
        parts = _Parts(bool(created), bool(updated), is_one=len(write.rows.values) == 1)
        added = [rows for rows in (write.history, write.beside) if rows]
        layouts = tuple(rows.target.layout for rows in added)
        sql = _storing(target.layout, write.keys, write.matched, layouts, parts)
        parameters = [*arrays(write.rows), *target.pinned_values() * parts.number]
        for rows in added:
            parameters += [*rows.target.pinned_values(), *arrays(rows)]
        [[is_stored]] = self.fetch(target.connection, sql, parameters)
        return bool(is_stored)

    def _ignoring(self, insertion: Sql) -> Sql:
        sql, parameters = insertion
        return f"{sql} ON CONFLICT DO NOTHING", parameters

    def _max_rows(self, target: Target) -> int:
        # Arrays need no parameter for each row; the bound keeps the server's memory for a statement small.
        return 10_000

    def _adapted(self, target: Target, rows: Sequence[Values]) -> Sequence[Values]:
        # `arrays` does it.
        return rows

    def _insertion(self, target: Target, rows: Sequence[Values]) -> Sql:
        return _inserting(target.layout), [*target.pinned_values(), *arrays(Rows(target, rows))]


def sqlstate(error: Error) -> str | None:
    """Return the SQLSTATE of the server's answer; ``None`` if there was no answer."""
    cause = error.__cause__
    # psycopg2, which a check refuses, has another name for it.
    return getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)


# Texts of statements. Whatever the number of rows, a statement has one text, so that the server can keep its plan.


class _Parts(NamedTuple):
    """Parts of a write on which its text depends."""

    creates: bool
    updates: bool
    is_one: bool
    """It has one row only."""

    @property
    def number(self) -> int:
        """The number of parts that take the pinned values of the rows."""
        return self.creates + self.updates * (1 if self.is_one else 2)


@lru_cache(256)
def _storing(
    rows: Layout, keys: tuple[str, ...], matched: tuple[str, ...], added: tuple[Layout, ...], parts: _Parts
) -> str:
    """Return the statement that writes rows, adds rows of other tables, and selects whether all was as expected.

    Each part of the statement that writes is guarded by the number of rows that matched, so all of them write or
    none. An error would do too, but it would end a caller's transaction.
    """
    sql, guard = [f"new AS (SELECT * FROM {row_table(rows)})"], "true"
    if parts.updates:
        condition, sets = matches(_pinned(rows, "old."), rows, matched), assignments(rows, matched, "new")
        update = f"UPDATE {rows.table} AS old SET {sets} FROM new WHERE {condition}"
        # A single row can't deadlock with itself, and needs no lock before its update.
        if parts.is_one:
            sql.append(f"updated AS ({update} RETURNING 1)")
            guard = "EXISTS (SELECT FROM updated)"
        else:
            sql.append(f"locked AS ({locking(rows, keys, condition)})")
            guard = "(SELECT is_every FROM locked)"
            sql.append(f"updated AS ({update} AND {guard})")
    if parts.creates:
        insert = f"INSERT INTO {rows.table} ({rows.every_name}) SELECT {_selected(rows)} FROM new"
        sql.append(f"created AS ({insert} WHERE new.{REVISION} = 1 AND {guard} RETURNING 1)")
    # PostgreSQL runs parts that nobody reads last, the last of them first. Reading `created` to its end keeps rows
    # before what is added, as other writers lock them.
    after = " AND (SELECT count(*) FROM created) > 0" if parts.creates else ""
    for name, layout in zip(("recorded", "beside"), added, strict=False):
        sql.append(f"{name} AS ({_inserting(layout)} WHERE {guard}{after})")
    return f"WITH {', '.join(sql)} SELECT {guard}"


def locking(rows: Layout, keys: tuple[str, ...], condition: str) -> str:
    """Return the query that locks the rows to update in the order of their keys, and tells whether all are there."""
    # An UPDATE locks rows in the order of its plan, so two of them could deadlock. Every writer locks in this order,
    # before the first row is written.
    order = ", ".join(f"new.{name}" for name in rows.names_of(keys)) or "1"
    locked = f"SELECT 1 FROM {rows.table} AS old, new WHERE {condition} ORDER BY {order} FOR UPDATE OF old"
    number = f"SELECT count(*) FROM new WHERE new.{REVISION} > 1"
    # FOR UPDATE and count() can't stand in one query, hence the subquery.
    return f"SELECT count(*) = ({number}) AS is_every FROM ({locked}) AS old"


@lru_cache(256)
def _inserting(rows: Layout) -> str:
    """Return the statement that inserts rows. A condition on ``new`` may follow it."""
    return f"INSERT INTO {rows.table} ({rows.every_name}) SELECT {_selected(rows)} FROM {row_table(rows)}"


def _registering(rows: Layout, parents: Layout, reference: str) -> str:
    """Return the statement that inserts missing parents, and missing rows whose parent is stored as given."""
    key, ignoring = parents.names[0], "ON CONFLICT DO NOTHING"
    is_same = " AND ".join(f"parent.{name} = new.{name}" for name in parents.names)
    # All parts of a statement see one snapshot, so `parent` lacks the rows that `inserted` has just added.
    # https://www.postgresql.org/docs/current/queries-with.html
    stored = f"SELECT new.{key} FROM {parents.table} AS parent, {row_table(parents)} WHERE {is_same}"
    return (
        f"WITH inserted AS ({_inserting(parents)} {ignoring} RETURNING {key}), "
        f"valid AS (SELECT {key} FROM inserted UNION ALL {stored}) "
        f"{_inserting(rows)} WHERE new.{reference} IN (SELECT {key} FROM valid) {ignoring}"
    )


def _selected(rows: Layout) -> str:
    """Return the SELECT list of an insertion from ``new``: placeholders of the pinned values, then all columns."""
    return ", ".join([*["%s"] * len(rows.pinned_names), "new.*"])


def row_table(rows: Layout) -> str:
    """Return a FROM item that lists rows under the name ``new``, from one array for each column."""
    first, *others = [_TEXT_ARRAY if db_type in _TEXTS else f"%s::{db_type}[]" for db_type in rows.types]
    return f"unnest({', '.join([_hidden(first), *others])}) AS new ({', '.join(rows.names)})"


def _pinned(rows: Layout, prefix: str) -> list[str]:
    names = zip(rows.pinned_names, rows.pinned_types, strict=True)
    return [f"{prefix}{name} = {_hidden(f'%s::{db_type}')}" for name, db_type in names]


def _hidden(value: str) -> str:
    """Return an expression whose value the planner does not see.

    It then makes one plan for all learners and all numbers of blocks, and keeps it with a prepared statement. Of values
    that it sees it would think that a plan for them alone is better, each time. For a learner who came after the newest
    statistics, that plan reads all rows of the learner.
    """
    return f"(SELECT {value})"


# Arrays as parameters.


def arrays(rows: Rows) -> list[str]:
    """Return the parameters of `row_table`."""
    layout, connection = rows.target.layout, rows.target.connection
    # Without rows there are still columns, each of no values.
    columns: Iterable[Sequence[Any]] = zip(*rows.values, strict=True) if rows.values else repeat((), len(layout.names))
    parameters: list[str] = []
    for db_type, adapter, values in zip(layout.types, layout.adapters, columns, strict=True):
        if db_type in _TEXTS:
            parameters += _joined(values)
            continue
        is_written_here = adapter is None or db_type in _ITEMS
        items = values if is_written_here else map(adapter(connection), values)  # type: ignore[misc]
        parameters.append(f"{{{_ITEMS.get(db_type, _numbers)(items)}}}")
    return parameters


def _numbers(values: Iterable[float | None]) -> str:
    return ",".join(map(str, values)).replace("None", "NULL")


def _times(values: Iterable[datetime]) -> str:
    return ",".join([f'"{text}"' for text in convert_runs(str, values)])


def _bytes(values: Iterable[bytes | None]) -> str:
    # The backslash of bytea's hex format is doubled, because an array's text has escapes of its own.
    return ",".join(["NULL" if value is None else f'"\\\\x{value.hex()}"' for value in values])


# Writers of array texts, by type. Texts that callers chose are not among them: they would need escaping.
_ITEMS: Mapping[str, Callable[[Iterable[Any]], str]] = {"bytea": _bytes, "timestamp with time zone": _times}


# The server cuts one string. psycopg would escape a list item by item in Python, a microsecond for each quote in a JSON
# text, and the server would parse the escapes again.
_TEXT_ARRAY = "string_to_array(%s, %s, %s)"


def _joined(texts: Sequence[str | None]) -> tuple[str, str, str]:
    """Return the parameters of `_TEXT_ARRAY`: the joined texts, their separator, and the mark of NULL."""
    separator, null = _SEPARATOR, _NULL
    joined = separator.join([null if text is None else text for text in texts])
    # A state that SQL has written may hold any character.
    if joined.count(separator) >= len(texts) or joined.count(null) > texts.count(None):
        present = set(joined)
        separator, null = islice((mark for mark in map(chr, count(1)) if mark not in present), 2)
        joined = separator.join([null if text is None else text for text in texts])
    return joined, separator, null
