"""What a vendor's dialect does: verbs that move many rows each in one statement, and one that reads an error."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Sequence
from enum import Enum
from itertools import chain
from typing import Any, ClassVar

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import Error

from xblock_user_state.store.dialects.rows import (
    Convert,
    Rows,
    Sql,
    Target,
    Values,
    Write,
    _text_size,
    _text_sizes,
    each_once,
)


class Failure(Enum):
    """What an error of the database means."""

    DUPLICATE = "somebody else inserted the row first"
    CONFLICT = "the transaction met another one; repeat it"
    UNAVAILABLE = "the database can't be reached, or can't serve"


class Dialect(ABC):
    """Moves many rows in one statement, or in as few as the vendor's limits allow."""

    vendor: ClassVar[str]
    max_text: ClassVar[int]
    """How many characters and bytes the values of a statement may have, if they are those of more than one row."""

    def among(self, column: str, values: Sequence[Any]) -> Sql:
        """Return the condition that a column has one of the values."""
        return f"{column} IN ({', '.join(['%s'] * len(values))})", list(values)

    def read_as(
        self, name: str, field: models.Field[Any, Any], connection: BaseDatabaseWrapper
    ) -> tuple[str, Convert | None]:
        """Return what to select for a column, and what makes its value of the driver's: ``None`` for Django's way."""
        return name, None

    @abstractmethod
    def listed(self, ids: Sequence[int]) -> Sql:
        """Return what is selected from to have numbers as the column ``id`` of a table of the name ``asked``."""

    def insert(self, target: Target, rows: Sequence[Values]) -> None:
        """Insert rows, in their order. Raises the driver's ``IntegrityError`` if one is there already."""
        for chunk in self.chunks(target, rows):
            self.execute(target.connection, *self.insertion(target, chunk))

    def register(self, contexts: Rows, blocks: Rows) -> int:
        """Insert those contexts that are not there yet, and those blocks; return how many blocks that were.

        No block is inserted into a context whose id has another key.
        """
        connection, names = contexts.target.connection, contexts.target.layout.names
        self._insert_missing(contexts)
        known: set[Values] = set()
        for chunk in self.chunks(contexts.target, contexts.values):
            condition, ids = self.among(names[0], [id_ for id_, _ in chunk])
            with connection.cursor() as cursor:
                cursor.execute(f"SELECT {', '.join(names)} FROM {contexts.target.table} WHERE {condition}", ids)
                known.update(cursor.fetchall())
        known_ids = {id_ for id_, key in contexts.values if (id_, key) in known}
        context = blocks.target.columns.index("context_id")
        return self._insert_missing(Rows(blocks.target, [row for row in blocks.values if row[context] in known_ids]))

    def _insert_missing(self, rows: Rows) -> int:
        return sum(
            self.execute(rows.target.connection, *self._ignoring(self.insertion(rows.target, chunk)))
            for chunk in self.chunks(rows.target, rows.values)
        )

    def store(self, write: Write) -> bool:
        """Write rows and history inside a transaction; tell whether all rows were there as expected.

        If not, the transaction must be rolled back. Raises the driver's ``IntegrityError`` if a new row is there.
        """
        target = write.rows.target
        if not all(self._store(target, write.keys, chunk) for chunk in self.chunks(target, write.rows.values)):
            return False
        if write.history:
            self.insert(write.history.target, write.history.values)
        return True

    def store_at_once(self, write: Write) -> bool | None:
        """Do the same outside any transaction in one round trip, all of it or nothing; ``None`` if that can't be."""
        return None

    def max_keys(self, connection: BaseDatabaseWrapper) -> int:
        """Return how many values a list in a statement may have; PostgreSQL's limit for bound parameters."""
        return 65_000

    def fits(self, write: Write) -> bool:
        """Tell whether one statement or packet takes all rows and their history."""
        tables = [write.rows, write.history] if write.history else [write.rows]
        return sum(map(_text_size, tables)) <= self.max_text and all(
            len(table.values) <= self.max_rows(table.target) for table in tables
        )

    @abstractmethod
    def failure(self, error: Error) -> Failure | None:
        """Tell what an error means; ``None`` for one of the program, which stays what it is."""

    @abstractmethod
    def _store(self, target: Target, keys: Sequence[str], rows: Sequence[Values]) -> bool:
        """Write rows that one statement takes; tell whether all were there as expected."""

    @abstractmethod
    def _ignoring(self, insertion: Sql) -> Sql:
        """Return the statement that inserts what is not there yet."""

    @abstractmethod
    def max_rows(self, target: Target) -> int:
        """Return how many rows one statement takes."""

    def chunks(self, target: Target, rows: Sequence[Values]) -> Iterator[Sequence[Values]]:
        """Cut rows into pieces that one statement takes, as the driver wants them."""
        most = self.max_rows(target)
        start = size = 0
        for end, row_size in enumerate(_text_sizes(Rows(target, rows))):
            if end > start and (end - start == most or size + row_size > self.max_text):
                yield self.prepared(target, rows[start:end])
                start, size = end, 0
            size += row_size
        if rows:
            yield self.prepared(target, rows[start:])

    def prepared(self, target: Target, rows: Sequence[Values]) -> Sequence[Values]:
        """Return rows of values as the driver wants them."""
        if not rows:
            return rows
        columns = list(zip(*rows, strict=True))
        for number, prepare in enumerate(target.layout.prepare):
            if prepare is not None:
                columns[number] = tuple(each_once(prepare(target.connection), columns[number]))
        return list(zip(*columns, strict=True))

    def execute(self, connection: BaseDatabaseWrapper, sql: str, parameters: Iterable[Any]) -> int:
        """Execute a statement and return how many rows it changed."""
        with connection.cursor() as cursor:
            cursor.execute(sql, list(parameters))
            return int(cursor.rowcount)

    def insertion(self, target: Target, rows: Sequence[Values]) -> Sql:
        """Return the statement that inserts rows."""
        pinned = target.pinned_values()
        row = f"({', '.join(['%s'] * (len(pinned) + len(target.columns)))})"
        sql = f"INSERT INTO {target.table} ({target.every_name}) VALUES {', '.join([row] * len(rows))}"
        return sql, list(chain.from_iterable((*pinned, *values) for values in rows))

    def matches(self, target: Target, keys: Collection[str]) -> Sql:
        """Return the condition that joins rows as expected, under the name ``old``, to those that are ``new``."""
        pinned = [f"old.{name} = %s" for name in target.pinned_names]
        joined = [f"old.{name} = new.{name}" for name in map(target.connection.ops.quote_name, keys)]
        return " AND ".join([*pinned, *joined, "old.revision = new.revision - 1"]), target.pinned_values()

    def assignments(self, target: Target, keys: Collection[str], new: str) -> str:
        """Return what sets the columns that are no keys to those of ``new``."""
        pairs = zip(target.columns, target.layout.names, strict=True)
        return ", ".join(f"{name} = {new}.{name}" for column, name in pairs if column not in keys)
