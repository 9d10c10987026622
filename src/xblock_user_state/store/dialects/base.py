"""The seam between the store and a database: thirteen verbs that move rows and read errors.

A verb knows tables and columns by the names that its caller gives. The meaning of rows lives in the callers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from enum import Enum
from itertools import chain
from typing import Any, ClassVar

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import DataError, Error, OperationalError

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
    text_size,
    text_sizes,
)


class Failure(Enum):
    """The classes of database errors that a caller can act on."""

    DUPLICATE = "another transaction inserted the row first"
    CONFLICT = "deadlock, serialization failure, lock timeout or lost prepared statement: repeat the transaction"
    UNAVAILABLE = "the database is unreachable or can't serve"
    OUTDATED = "Citus has distributed the tables meanwhile: repeat the statement in the dialect that suits it"
    TOO_LARGE = "a value or statement is over a limit of the server: repeating does not help"


class TooLarge(DataError):
    """A row is over a limit of the server. Nothing of the write was sent."""

    def __init__(self, size: int, limit: int, name: str) -> None:
        super().__init__(f"{size:,} bytes; {name} of the server is {limit:,}")


class TransactionLost(OperationalError):
    """The database has rolled back the whole transaction, so its savepoint is gone: only who began it can repeat it.

    A node of Galera does so at any moment, for the commit of another node. The next statement is told, which may be the
    rollback to the savepoint, and Django keeps that error to itself.
    """


class Outcome(Enum):
    """The result of `Dialect.store_at_once`."""

    STORED = "all rows and their history are stored"
    LOST_RACE = "a row was not as expected; nothing was written"
    NOT_SENT = "one round trip can't carry this write; nothing was sent"


class Dialect(ABC):
    """Moves many rows in one statement, or in as few as the vendor's limits allow.

    The public methods are the thirteen verbs of the seam. A new vendor writes `id_table`, `_classified`,
    `_store_rows`, `_ignoring` and `_max_rows`, and sets `vendor` and `_max_text`. The other verbs have defaults; a
    vendor overrides a verb where it has a faster way. Every verb takes empty lists.
    """

    vendor: ClassVar[str]
    _max_text: ClassVar[int]
    """Characters and bytes of long values that one statement carries. A single larger row is still sent."""
    errors_end_transactions: ClassVar[bool] = False
    """After an error a transaction takes no statement but a rollback, so what may fail needs a savepoint."""
    mixes_owners: ClassVar[bool] = True
    """One statement may read rows of a learner and rows that all learners share."""

    def in_list(self, column: str, values: Sequence[Any], *, keep_plan: bool = False) -> Sql:
        """Return the condition that a column has one of the values. `keep_plan` is for a statement of `fetch`."""
        if not values:
            return "1 = 0", []
        return f"{column} IN ({', '.join(['%s'] * len(values))})", list(values)

    def pinned(self, layout: Layout, prefix: str = "") -> list[str]:
        """Return the conditions on the pinned columns. Their parameters are the pinned values.

        They compare with constants, not by a join: every statement names its learner. The prefix is a table's alias and
        dot.
        """
        return [f"{prefix}{name} = %s" for name in layout.pinned_names]

    def keyed(self, table: str) -> str:
        """Return the FROM item of a table for a query by a learner and a list of keys, which begin its primary key."""
        return table

    @abstractmethod
    def id_table(self, ids: Sequence[int]) -> Sql:
        """Return a FROM item that lists ids as ``asked(id)``."""

    def select_expression(
        self, name: str, field: models.Field[Any, Any], connection: BaseDatabaseWrapper
    ) -> tuple[str, Convert | None]:
        """Return the expression that selects a column, and its converter; ``None`` for Django's own converters."""
        return name, None

    def fetch(self, connection: BaseDatabaseWrapper, sql: str, parameters: Sequence[Any]) -> Sequence[Values]:
        """Run a query of one learner, which has one of a few texts, and return its rows. A vendor may keep its plan."""
        return fetch(connection, sql, parameters)

    def insert(self, target: Target, rows: Sequence[Values]) -> None:
        """Insert rows in their order. Raises the driver's ``IntegrityError`` if a row exists."""
        for chunk in self._chunks(target, rows):
            execute(target.connection, *self._insertion(target, chunk))

    def insert_missing(self, rows: Rows, parents: Rows, reference: str) -> int:
        """Insert missing parents, then missing rows; return the number of rows that were inserted.

        The column `reference` of a row holds the first column of its parent. A row is skipped if its parent is stored
        with other values than given. Three statements; an override may take one.
        """
        # Compared after the insertion: until then another process may store a parent under the same key.
        self._insert_ignoring(parents)
        stored = self._stored(parents)
        valid = {parent[0] for parent in parents.values if parent in stored}
        column = rows.target.columns.index(reference)
        return self._insert_ignoring(Rows(rows.target, [row for row in rows.values if row[column] in valid]))

    def store(self, write: Write) -> bool:
        """Write rows and history in the caller's transaction; return whether every row was as expected.

        If not, the caller must roll back. Raises the driver's ``IntegrityError`` if a row to insert exists.
        """
        # Rows before history, in every dialect and mode: a lost race then costs no insertion of history.
        target = write.rows.target
        for chunk in self._chunks(target, write.rows.values):
            if not self._store_rows(replace(write, rows=Rows(target, chunk), history=None)):
                return False
        if write.history:
            self.insert(write.history.target, write.history.values)
        return True

    def store_at_once(self, write: Write) -> Outcome:
        """Write rows and history in one round trip: all of it or nothing. Outside a transaction, commit too.

        In a transaction an error must undo this write only. Raises the driver's ``IntegrityError`` if a row to insert
        exists.
        """
        return Outcome.NOT_SENT

    def max_keys(self, connection: BaseDatabaseWrapper) -> int:
        """Return how many values a list in one statement may have."""
        # PostgreSQL's protocol counts bound parameters in 16 bits; a statement has a few other parameters.
        return 65_000

    def failure(self, error: Error) -> Failure | None:
        """Classify a database error; ``None`` for a bug in the program, which callers let through."""
        if isinstance(error, TransactionLost):
            return Failure.CONFLICT
        return Failure.TOO_LARGE if isinstance(error, TooLarge) else self._classified(error)

    def has_rolled_back(self, connection: BaseDatabaseWrapper, error: Error) -> bool:
        """Tell whether an error has rolled back the whole transaction, savepoints included, unknown to Django."""
        return False

    @abstractmethod
    def _classified(self, error: Error) -> Failure | None:
        """Classify an error of the driver."""

    @abstractmethod
    def _store_rows(self, write: Write) -> bool:
        """Write rows that one statement takes, without history; return whether every row was as expected."""

    @abstractmethod
    def _ignoring(self, insertion: Sql) -> Sql:
        """Return an insertion that skips rows that exist."""

    @abstractmethod
    def _max_rows(self, target: Target) -> int:
        """Return how many rows one statement takes."""

    def _fits(self, write: Write) -> bool:
        """Tell whether one statement or packet carries all rows and their history."""
        tables = [rows for rows in (write.rows, write.history, write.beside) if rows]
        return sum(map(text_size, tables)) <= self._max_text and all(
            len(table.values) <= self._max_rows(table.target) for table in tables
        )

    def _chunks(self, target: Target, rows: Sequence[Values]) -> Iterator[Sequence[Values]]:
        """Cut rows into chunks that one statement takes, adapted to the driver."""
        most = self._max_rows(target)
        start = size = 0
        for end, row_size in enumerate(text_sizes(Rows(target, rows))):
            # A chunk has a row at least: a single row over the limit is left to the server to take or refuse.
            if end > start and (end - start == most or size + row_size > self._max_text):
                yield self._adapted(target, rows[start:end])
                start, size = end, 0
            size += row_size
        if rows:
            yield self._adapted(target, rows[start:])

    def _adapted(self, target: Target, rows: Sequence[Values]) -> Sequence[Values]:
        """Return rows with the driver's values."""
        if not rows:
            return rows
        columns = list(zip(*rows, strict=True))
        for number, adapter in enumerate(target.layout.adapters):
            if adapter is not None:
                columns[number] = tuple(convert_runs(adapter(target.connection), columns[number]))
        return list(zip(*columns, strict=True))

    def _insertion(self, target: Target, rows: Sequence[Values]) -> Sql:
        """Return the statement that inserts rows."""
        pinned = target.pinned_values()
        row = f"({', '.join(['%s'] * (len(pinned) + len(target.columns)))})"
        sql = f"INSERT INTO {target.table} ({target.layout.every_name}) VALUES {', '.join([row] * len(rows))}"
        return sql, list(chain.from_iterable((*pinned, *values) for values in rows))

    def _insert_ignoring(self, rows: Rows) -> int:
        return sum(
            execute(rows.target.connection, *self._ignoring(self._insertion(rows.target, chunk)))
            for chunk in self._chunks(rows.target, rows.values)
        )

    def _stored(self, rows: Rows) -> set[Values]:
        """Return the stored rows that have the same first column, which is the key."""
        target, names = rows.target, rows.target.layout.names
        stored: set[Values] = set()
        for chunk in self._chunks(target, rows.values):
            condition, keys = self.in_list(names[0], [row[0] for row in chunk])
            sql = f"SELECT {', '.join(names)} FROM {target.table} WHERE {condition}"
            stored.update(fetch(target.connection, sql, keys))
        return stored


def fetch(connection: BaseDatabaseWrapper, sql: str, parameters: Sequence[Any]) -> Sequence[Values]:
    """Run a query and return its rows."""
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        rows: Sequence[Values] = cursor.fetchall()
    return rows


def execute(connection: BaseDatabaseWrapper, sql: str, parameters: Iterable[Any]) -> int:
    """Execute a statement and return the number of rows that it changed, as the driver counts."""
    with connection.cursor() as cursor:
        cursor.execute(sql, list(parameters))
        return int(cursor.rowcount)


def matches(pinned: Iterable[str], layout: Layout, matched: Collection[str]) -> str:
    """Return the compare of compare-and-set: a condition that joins stored rows ``old`` to rows to write ``new``.

    `pinned` are the conditions on the pinned columns of ``old``.
    """
    joined = [f"old.{name} = new.{name}" for name in layout.names_of(matched)]
    return " AND ".join([*pinned, *joined, f"old.{REVISION} = new.{REVISION} - 1"])


def assignments(layout: Layout, matched: Collection[str], new: str) -> str:
    """Return the SET list that takes all columns but the matched ones from the rows named `new`."""
    others = [column for column in layout.columns if column not in matched]
    return ", ".join(f"{name} = {new}.{name}" for name in layout.names_of(others))
