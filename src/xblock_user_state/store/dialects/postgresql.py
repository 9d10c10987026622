"""PostgreSQL: rows travel as one parameter a column, and a call is written by one statement.

A statement is a transaction by itself, so a write outside any other takes one round trip.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import Error, InterfaceError, OperationalError

from xblock_user_state.store.dialects.base import Dialect, Failure
from xblock_user_state.store.dialects.rows import (
    Convert,
    Rows,
    Sql,
    Target,
    Values,
    Write,
    each_once,
    microseconds_to_time,
    split,
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
# Stand in no JSON text and in no key, where they would be escaped or refused.
_SEPARATOR, _NULL = "\x1e", "\x1f"


class PostgreSQL(Dialect):
    """PostgreSQL 14 and later, through psycopg 3."""

    vendor = "postgresql"
    # Keeps a statement's text, which is in memory several times, within some megabytes.
    max_text = 64 * 1024 * 1024

    def among(self, column: str, values: Sequence[Any]) -> Sql:
        """Return the condition that a column has one of the values, which travel as one parameter."""
        array, parameters = _array("text" if isinstance(values[0], str) else "bigint", values)
        return f"{column} = ANY({array})", parameters

    def listed(self, ids: Sequence[int]) -> Sql:
        """Return what is selected from to have numbers as a table."""
        array, parameters = _array("bigint", ids)
        return f"unnest({array}) AS asked (id)", parameters

    def read_as(
        self, name: str, field: models.Field[Any, Any], connection: BaseDatabaseWrapper
    ) -> tuple[str, Convert | None]:
        """Read times as microseconds: Django parses each of them in Python, as text."""
        if not isinstance(field, models.DateTimeField):
            return name, None
        return f"(extract(epoch FROM {name}) * 1000000)::bigint", microseconds_to_time

    def register(self, contexts: Rows, blocks: Rows) -> int:
        """Insert contexts and blocks in one statement, if it takes them."""
        context, block = contexts.target, blocks.target
        if len(blocks.values) > self.max_rows(block):
            return super().register(contexts, blocks)
        statement = _Statement()
        sql, parameters = self._ignoring(self.insertion(context, contexts.values))
        statement.add("made", f"{sql} RETURNING id", parameters)
        relation, parameters = _relation(context, contexts.values)
        same = f"context.id = new.id AND context.{context.layout.names[1]} = new.{context.layout.names[1]}"
        # What was inserted a moment ago is not in the table yet as this statement sees it.
        statement.add(
            "known",
            f"SELECT id FROM made UNION ALL SELECT new.id FROM {context.table} AS context, {relation} WHERE {same}",
            parameters,
        )
        sql, parameters = self.insertion(block, blocks.values)
        sql, parameters = self._ignoring((f"{sql} WHERE new.context_id IN (SELECT id FROM known)", parameters))
        return self.execute(block.connection, f"{statement} {sql}", [*statement.parameters, *parameters])

    def store(self, write: Write) -> bool:
        """Write rows and history, in one statement if it takes them."""
        return self._store_all(write) if self.fits(write) else super().store(write)

    def store_at_once(self, write: Write) -> bool | None:
        """Write rows and history by one statement, which is a transaction by itself."""
        return self._store_all(write) if self.fits(write) else None

    def max_rows(self, target: Target) -> int:
        """Return a number of rows for which the server's own memory does not matter."""
        return 10_000

    def prepared(self, target: Target, rows: Sequence[Values]) -> Sequence[Values]:
        """Return the rows as they are: `_array` writes what the server reads."""
        return rows

    def insertion(self, target: Target, rows: Sequence[Values]) -> Sql:
        """Return the statement that inserts rows, or those of which a condition on ``new`` holds."""
        relation, parameters = _relation(target, rows)
        sql = f"INSERT INTO {target.table} ({target.every_name}) SELECT {_selected(target)} FROM {relation}"
        return sql, [*target.pinned_values(), *parameters]

    def failure(self, error: Error) -> Failure | None:
        """Tell what an error means, by its SQLSTATE; an operational error without one is a broken connection."""
        state = getattr(error.__cause__, "sqlstate", None)
        if state is None:
            return Failure.UNAVAILABLE if isinstance(error, OperationalError | InterfaceError) else None
        if state in _DUPLICATE:
            return Failure.DUPLICATE
        if state in _CONFLICT:
            return Failure.CONFLICT
        return Failure.UNAVAILABLE if state in _UNAVAILABLE or state[:2] in _UNAVAILABLE_CLASSES else None

    def _store(self, target: Target, keys: Sequence[str], rows: Sequence[Values]) -> bool:
        return self._store_all(Write(Rows(target, rows), tuple(keys), None))

    def _store_all(self, write: Write) -> bool:
        """Write all or nothing: what is written hangs on the number of rows that are there as expected."""
        target = write.rows.target
        created, updated = split(target, write.rows.values)
        statement = _Statement()
        relation, parameters = _relation(target, write.rows.values)
        statement.add("new", f"SELECT * FROM {relation}", parameters)
        guard = self._add_update(statement, write, len(updated)) if updated else "true"
        if created:
            sql = f"INSERT INTO {target.table} ({target.every_name}) SELECT {_selected(target)} FROM new"
            statement.add("created", f"{sql} WHERE new.revision = 1 AND {guard}", target.pinned_values())
        if write.history:
            sql, parameters = self.insertion(write.history.target, write.history.values)
            statement.add("recorded", f"{sql} WHERE {guard}", parameters)
        with target.connection.cursor() as cursor:
            cursor.execute(f"{statement} SELECT {guard}", statement.parameters)
            [is_stored] = cursor.fetchone()
        return bool(is_stored)

    def _add_update(self, statement: _Statement, write: Write, count: int) -> str:
        """Add the update, and return the condition that all `count` rows were there as expected."""
        target = write.rows.target
        matches, pinned = self.matches(target, write.keys)
        update = (
            f"UPDATE {target.table} AS old SET {self.assignments(target, write.keys, 'new')} FROM new WHERE {matches}"
        )
        if count == len(write.rows.values) == 1:
            statement.add("updated", f"{update} RETURNING 1", pinned)
            return "EXISTS (SELECT FROM updated)"
        # All rows are locked before the first is written, in the order of their keys, as everybody does. An UPDATE by
        # itself locks them in that of its plan, and two of them would wait for each other until one is ended.
        order = ", ".join(f"new.{name}" for name in map(target.connection.ops.quote_name, write.keys)) or "1"
        locked = f"SELECT 1 FROM {target.table} AS old, new WHERE {matches} ORDER BY {order} FOR UPDATE OF old"
        statement.add("locked", f"SELECT count(*) AS number FROM ({locked}) AS old", pinned)
        guard = f"(SELECT number FROM locked) = {count}"
        statement.add("updated", f"{update} AND {guard}", pinned)
        return guard

    def _ignoring(self, insertion: Sql) -> Sql:
        sql, parameters = insertion
        return f"{sql} ON CONFLICT DO NOTHING", parameters


class _Statement:
    """A statement that is put together from named parts, with their parameters."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self.parameters: list[Any] = []

    def add(self, name: str, sql: str, parameters: Sequence[Any]) -> None:
        self._parts.append(f"{name} AS ({sql})")
        self.parameters += parameters

    def __str__(self) -> str:
        return f"WITH {', '.join(self._parts)}"


def _selected(target: Target) -> str:
    """Return what an insertion selects of rows as a table: the pinned values, which come with it, and the columns."""
    return ", ".join([*["%s"] * len(target.pinned), "new.*"])


def _relation(target: Target, rows: Sequence[Values]) -> Sql:
    """Return what is selected from to have rows as a table of the name ``new``: a parameter for each column."""
    columns = zip(target.layout.types, zip(*rows, strict=True), strict=True)
    arrays = [_array(db_type, values) for db_type, values in columns]
    sql = f"unnest({', '.join(sql for sql, _ in arrays)}) AS new ({', '.join(target.layout.names)})"
    return sql, [value for _, values in arrays for value in values]


def _numbers(values: Iterable[float | None]) -> str:
    return ",".join(map(str, values)).replace("None", "NULL")


def _times(values: Iterable[datetime]) -> str:
    return ",".join([f'"{text}"' for text in each_once(str, values)])


def _bytes(values: Iterable[bytes | None]) -> str:
    return ",".join(["NULL" if value is None else f'"\\\\x{value.hex()}"' for value in values])


# How an array's text has the values of a type. No texts that callers chose: those would need escaping.
_ITEMS: Mapping[str, Callable[[Iterable[Any]], str]] = {"bytea": _bytes, "timestamp with time zone": _times}


def _array(db_type: str, values: Sequence[Any]) -> Sql:
    """Return an array in SQL.

    One parameter for all items, which the server cuts into pieces: psycopg would escape each of them in Python, a
    microsecond for each quote of a JSON text, and the server would parse each of them.
    """
    if db_type not in _TEXTS:
        items = _ITEMS.get(db_type, _numbers)
        return f"%s::{db_type}[]", [f"{{{items(values)}}}"]
    if any(text is not None and (_SEPARATOR in text or _NULL in text) for text in values):
        return f"ARRAY[{', '.join(['%s'] * len(values))}]::{db_type}[]", list(values)
    joined = _SEPARATOR.join(_NULL if text is None else text for text in values)
    return f"string_to_array(%s, E{_SEPARATOR!r}, E{_NULL!r})", [joined]
