"""Values that a dialect works on: a table's columns, rows of values, and a write of rows with their history."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper

from xblock_user_state.store.tables import field_of

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Values = tuple[Any, ...]
Convert = Callable[[Any, BaseDatabaseWrapper], Any]
"""Makes the value of a column of the driver's."""

Sql = tuple[str, list[Any]]
"""A statement, or a part of one, and its parameters."""


@dataclass(frozen=True)
class Layout:
    """A table and some of its columns as one database names them. Made once, and kept."""

    table: str
    names: tuple[str, ...]
    types: tuple[str, ...]
    """As a cast names them: without a length, to which a cast would cut."""
    prepare: tuple[Callable[[BaseDatabaseWrapper], Callable[[Any], Any]] | None, ...]
    """For each column whose values the driver does not take as they are."""
    long: tuple[int, ...]
    """Which columns have values that may be long."""
    are_numbers: tuple[bool, ...]


# A few lists of columns of some tables.
@lru_cache(256)
def _layout(alias: str, model: type[models.Model], columns: tuple[str, ...]) -> Layout:
    connection = connections[alias]
    fields = [field_of(model, column) for column in columns]
    return Layout(
        connection.ops.quote_name(model._meta.db_table),
        tuple(connection.ops.quote_name(column) for column in columns),
        tuple(str(field.db_type(connection)).partition("(")[0] for field in fields),
        tuple(_PREPARE.get(type(field)) for field in fields),
        tuple(
            number for number, field in enumerate(fields) if isinstance(field, models.TextField | models.BinaryField)
        ),
        tuple(isinstance(field, models.IntegerField | models.FloatField) for field in fields),
    )


def _prepare_binary(_: BaseDatabaseWrapper) -> Callable[[Any], Any]:
    return lambda value: bytes(value) if isinstance(value, memoryview) else value


_PREPARE: Mapping[type, Callable[[BaseDatabaseWrapper], Callable[[Any], Any]]] = {
    models.DateTimeField: lambda connection: connection.ops.adapt_datetimefield_value,
    models.BinaryField: _prepare_binary,
}


@dataclass(frozen=True)
class Target:
    """A table to write to: the columns whose values differ by row, and those that are `pinned` for all of them."""

    connection: BaseDatabaseWrapper
    model: type[models.Model]
    columns: tuple[str, ...]
    pinned: Mapping[str, Any]

    @property
    def layout(self) -> Layout:
        """The columns that differ by row, as the database names them."""
        return _layout(self.connection.alias, self.model, self.columns)

    @property
    def table(self) -> str:
        """The quoted name of the table."""
        return self.layout.table

    @property
    def pinned_names(self) -> tuple[str, ...]:
        """The quoted names of the pinned columns."""
        return _layout(self.connection.alias, self.model, tuple(self.pinned)).names

    @property
    def every_name(self) -> str:
        """The quoted names of all columns, pinned ones first, as a list in SQL."""
        return ", ".join((*self.pinned_names, *self.layout.names))

    def pinned_values(self) -> list[Any]:
        """Return the pinned values as the driver wants them: ids of users, which may be of any type."""
        return [
            field_of(self.model, column).get_db_prep_save(value, self.connection)
            for column, value in self.pinned.items()
        ]


@dataclass(frozen=True)
class Rows:
    """Rows of values for the columns of a target."""

    target: Target
    values: Sequence[Values]


@dataclass(frozen=True)
class Write:
    """The rows of one table that a call changes, in the order of their keys, and the history entries that go with them.

    A row of revision 1 is new; any other takes the place of the one that has the revision before, and the same values
    in the pinned columns and in `keys`.
    """

    rows: Rows
    keys: tuple[str, ...]
    history: Rows | None


def split(target: Target, rows: Sequence[Values]) -> tuple[list[Values], list[Values]]:
    """Return the rows that are new, and those that take the place of others."""
    revision = target.columns.index("revision")
    return [row for row in rows if row[revision] == 1], [row for row in rows if row[revision] > 1]


def _text_size(rows: Rows) -> int:
    """Return how many characters and bytes all values have that may be long."""
    return sum(len(row[column]) for column in rows.target.layout.long for row in rows.values if row[column])


def _text_sizes(rows: Rows) -> Iterator[int]:
    """Yield how many characters and bytes the values of each row have that may be long."""
    long = rows.target.layout.long
    return (sum(len(row[column] or "") for column in long) for row in rows.values)


def each_once(prepare: Callable[[Any], Any], values: Iterable[Any]) -> Iterator[Any]:
    """Prepare values of which many in a row are the same object, as the times of a call's rows are."""
    last = prepared = None
    for value in values:
        if value is not last:
            last, prepared = value, prepare(value)
        yield prepared


def microseconds_to_time(microseconds: int | None, _: BaseDatabaseWrapper | None = None) -> datetime | None:
    """Return the time so many microseconds after 1970, in UTC."""
    return None if microseconds is None else _EPOCH + timedelta(microseconds=microseconds)
