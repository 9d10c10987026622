"""What a vendor's dialect does: two verbs that write many rows each, and one that reads an error."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import chain
from typing import Any, ClassVar

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import Error

from xblock_user_state.store.tables import field_of

Values = tuple[Any, ...]


class Failure(Enum):
    """What an error of the database means."""

    DUPLICATE = "somebody else inserted the row first"
    CONFLICT = "the transaction met another one; repeat it"
    UNAVAILABLE = "the database can't be reached, or can't serve"


@dataclass(frozen=True)
class Target:
    """A table to write to: the columns whose values differ by row, and those that are `pinned` for all of them."""

    connection: BaseDatabaseWrapper
    model: type[models.Model]
    columns: tuple[str, ...]
    pinned: Mapping[str, Any]

    @property
    def table(self) -> str:
        """The quoted name of the table."""
        return self.quote(self.model._meta.db_table)

    def quote(self, name: str) -> str:
        """Return the quoted name of a table or column."""
        return self.connection.ops.quote_name(name)

    def quoted(self, columns: Iterable[str]) -> list[str]:
        """Return the quoted names of columns."""
        return [self.quote(column) for column in columns]

    def field(self, column: str) -> models.Field[Any, Any]:
        """Return the model field of a column."""
        return field_of(self.model, column)

    def db_type(self, column: str) -> str:
        """Return the vendor's type of a column, as a cast names it: without a length, to which a cast would cut."""
        return str(self.field(column).db_type(self.connection)).partition("(")[0]

    def prepared_rows(self, rows: Iterable[Values]) -> list[Values]:
        """Return rows of values as the driver wants them."""
        fields = [self.field(column) for column in self.columns]
        return [
            tuple(field.get_db_prep_save(value, self.connection) for field, value in zip(fields, row, strict=True))
            for row in rows
        ]

    def pinned_values(self) -> list[Any]:
        """Return the pinned values as the driver wants them."""
        return [self.field(column).get_db_prep_save(value, self.connection) for column, value in self.pinned.items()]


class Dialect(ABC):
    """Writes many rows in one statement, or in as few as the vendor's limits allow."""

    vendor: ClassVar[str]

    def insert(self, target: Target, rows: Sequence[Values]) -> None:
        """Insert rows. Raises the driver's ``IntegrityError`` if one is there already."""
        columns = ", ".join(target.quoted([*target.pinned, *target.columns]))
        pinned = target.pinned_values()
        for chunk in self.chunks(target, rows):
            row = self._placeholders(len(pinned) + len(target.columns))
            sql = f"INSERT INTO {target.table} ({columns}) VALUES {', '.join([row] * len(chunk))}"
            self._execute(target, sql, chain.from_iterable((*pinned, *values) for values in chunk))

    def update(self, target: Target, keys: Sequence[str], rows: Sequence[Values]) -> int:
        """Set the columns of rows whose revision is the one before the new one. Returns how many were.

        The rows are found by the pinned columns and by `keys`, which are among the target's columns, as is
        ``revision``.
        """
        return sum(self._update(target, keys, chunk) for chunk in self.chunks(target, rows))

    def max_keys(self, connection: BaseDatabaseWrapper) -> int:
        """Return how many values a list in a statement may have; PostgreSQL's limit for bound parameters."""
        return 65_000

    @abstractmethod
    def failure(self, error: Error) -> Failure | None:
        """Tell what an error means; ``None`` for one of the program, which stays what it is."""

    @abstractmethod
    def _update(self, target: Target, keys: Sequence[str], rows: Sequence[Values]) -> int: ...

    @abstractmethod
    def max_rows(self, target: Target) -> int:
        """Return how many rows one statement takes."""

    def chunks(self, target: Target, rows: Sequence[Values]) -> Iterator[Sequence[Values]]:
        """Cut rows into pieces that one statement takes, as the driver wants them."""
        size = self.max_rows(target)
        for start in range(0, len(rows), size):
            yield target.prepared_rows(rows[start : start + size])

    def _matches(self, target: Target, keys: Sequence[str], old: str, new: str) -> str:
        """Return the condition that joins the table, under the name `old`, to the new values, under `new`."""
        pinned = [f"{old}.{column} = %s" for column in target.quoted(target.pinned)]
        joined = [f"{old}.{column} = {new}.{column}" for column in target.quoted(keys)]
        return " AND ".join([*pinned, *joined, f"{old}.revision = {new}.revision - 1"])

    def _assignments(self, target: Target, keys: Sequence[str], prefix: str = "") -> str:
        names = target.quoted(column for column in target.columns if column not in keys)
        return ", ".join(f"{prefix}{name} = new.{name}" for name in names)

    def _placeholders(self, count: int) -> str:
        return f"({', '.join(['%s'] * count)})"

    def _execute(self, target: Target, sql: str, parameters: Iterable[Any]) -> int:
        with target.connection.cursor() as cursor:
            cursor.execute(sql, list(parameters))
            return int(cursor.rowcount)
