"""Values that a dialect works on: a table's columns, rows of values, and a write of rows with their history."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property, lru_cache, partial
from typing import Any

from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper

from xblock_user_state.fields import KeyField, UtcDateTimeField

REVISION = "revision"
"""The version column of every table that `Dialect.store` writes: 1 in a new row, plus one for each change."""

Values = tuple[Any, ...]
Convert = Callable[[Any, BaseDatabaseWrapper], Any]
"""Converts a driver's value to Python."""

Adapter = Callable[[BaseDatabaseWrapper], Callable[[Any], Any]]
"""Returns the function that converts Python's value of a field to the driver's."""

Sql = tuple[str, list[Any]]
"""A statement, or a part of one, and its parameters."""

_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)


@lru_cache(256)
def field_of(model: type[models.Model], column: str) -> models.Field[Any, Any]:
    """Return the field of a model whose column is `column`."""
    return next(field for field in model._meta.concrete_fields if field.column == column)


def value_field(field: models.Field[Any, Any]) -> models.Field[Any, Any]:
    """Return the field that defines the values: the key of the model that a foreign key refers to, else the field."""
    # A foreign key has no converters itself. A host's user model may have a key of any type, itself a foreign key.
    while isinstance(field, models.ForeignKey):
        field = field.target_field
    return field


# Compared by identity, which is cheap: `_layout` makes one object for all targets that look the same.
@dataclass(frozen=True, eq=False)
class Layout:
    """A table and some of its columns, as one database names them. Statements' texts depend on nothing else."""

    table: str
    columns: tuple[str, ...]
    names: tuple[str, ...]
    """The quoted names of the columns that are not pinned."""
    pinned_names: tuple[str, ...]
    """The quoted names of the pinned columns."""
    types: tuple[str, ...]
    """Types of the columns for a cast: without a length, since a cast to varchar(n) cuts silently."""
    pinned_types: tuple[str, ...]
    adapters: tuple[Adapter | None, ...]
    """For each column, a factory of the function from Python's value to the driver's; ``None`` if they are the same."""
    long: tuple[int, ...]
    """Numbers of the columns with texts or bytes of any length."""
    are_numbers: tuple[bool, ...]

    @property
    def every_name(self) -> str:
        """The quoted names of all columns, pinned ones first, as a list in SQL."""
        return ", ".join((*self.pinned_names, *self.names))

    def names_of(self, columns: Collection[str]) -> list[str]:
        """Return the quoted names of some columns, in their order in the layout."""
        return [name for column, name in zip(self.columns, self.names, strict=True) if column in columns]


# The package writes a handful of tables, each with a few lists of columns.
@lru_cache(256)
def _layout(alias: str, model: type[models.Model], columns: tuple[str, ...], pinned: tuple[str, ...]) -> Layout:
    connection = connections[alias]
    fields = [field_of(model, column) for column in columns]
    return Layout(
        connection.ops.quote_name(model._meta.db_table),
        columns,
        tuple(connection.ops.quote_name(column) for column in columns),
        tuple(connection.ops.quote_name(column) for column in pinned),
        tuple(_cast_type(field, connection) for field in fields),
        tuple(_cast_type(field_of(model, column), connection) for column in pinned),
        tuple(map(_adapter, map(value_field, fields))),
        tuple(
            number for number, field in enumerate(fields) if isinstance(field, models.TextField | models.BinaryField)
        ),
        tuple(isinstance(field, models.IntegerField | models.FloatField) for field in fields),
    )


def _cast_type(field: models.Field[Any, Any], connection: BaseDatabaseWrapper) -> str:
    return str(field.db_type(connection)).partition("(")[0]


def _binary_adapter(_: BaseDatabaseWrapper) -> Callable[[Any], Any]:
    # psycopg reads bytea as memoryview, which mysqlclient and sqlite3 do not write.
    return lambda value: bytes(value) if isinstance(value, memoryview) else value


_ADAPTERS: Mapping[type, Adapter] = {
    UtcDateTimeField: lambda connection: connection.ops.adapt_datetimefield_value,
    models.BinaryField: _binary_adapter,
}


# Their values are the driver's. A subclass of a host's may convert them.
_PLAIN = (models.BooleanField, models.CharField, models.FloatField, models.IntegerField, models.TextField)


def _adapter(field: models.Field[Any, Any]) -> Adapter | None:
    kind = type(field)
    if kind in _ADAPTERS:
        return _ADAPTERS[kind]
    if kind is KeyField or (issubclass(kind, _PLAIN) and kind.__module__ == models.Field.__module__):
        return None
    return lambda connection: partial(field.get_db_prep_save, connection=connection)


@dataclass(frozen=True)
class Target:
    """A table to read or write: columns with a value for each row, and `pinned` columns with one value for all."""

    connection: BaseDatabaseWrapper
    model: type[models.Model]
    columns: tuple[str, ...]
    pinned: Mapping[str, Any]

    @cached_property
    def layout(self) -> Layout:
        """Table and columns, as the database names them."""
        return _layout(self.connection.alias, self.model, self.columns, tuple(self.pinned))

    @property
    def table(self) -> str:
        """The quoted name of the table."""
        return self.layout.table

    def pinned_values(self) -> list[Any]:
        """Return the pinned values for the driver."""
        return [
            # Any other value through the field: a host's user model may have ids of any type, such as UUIDs.
            value if type(value) is int else field_of(self.model, column).get_db_prep_save(value, self.connection)
            for column, value in self.pinned.items()
        ]


@dataclass(frozen=True)
class Rows:
    """Rows of values for the columns of a target."""

    target: Target
    values: Sequence[Values]


@dataclass(frozen=True)
class Write:
    """A compare-and-set of one table's rows, in the order of their keys, and the history entries of the changes.

    A row of revision 1 is inserted. Any other row replaces the stored row that has the same pinned values, the same
    values in the columns `keys` and `also_matched`, and the revision before.
    """

    rows: Rows
    keys: tuple[str, ...]
    """The columns of the primary key that are not pinned."""
    also_matched: tuple[str, ...] = ()
    """Other columns that never change while the row exists: they differ if it was deleted and created again."""
    history: Rows | None = None
    beside: Rows | None = None
    """A row of another table to insert with them."""

    @property
    def matched(self) -> tuple[str, ...]:
        """All columns that a stored row must share with the new one. An update does not set them."""
        return (*self.keys, *self.also_matched)

    @property
    def is_one_row(self) -> bool:
        """Only one row is to be written, without history or another table's row."""
        return len(self.rows.values) == 1 and self.history is None and self.beside is None

    def split(self) -> tuple[list[Values], list[Values]]:
        """Return the rows to insert, and the rows to update."""
        revision = self.rows.target.columns.index(REVISION)
        rows = self.rows.values
        return [row for row in rows if row[revision] == 1], [row for row in rows if row[revision] > 1]


def text_sizes(rows: Rows) -> Iterator[int]:
    """Yield for each row how many characters and bytes its long columns hold."""
    long = rows.target.layout.long
    return (sum(len(row[column] or "") for column in long) for row in rows.values)


def text_size(rows: Rows) -> int:
    """Return how many characters and bytes the long columns of all rows hold."""
    return sum(len(row[column] or "") for column in rows.target.layout.long for row in rows.values)


def convert_runs(convert: Callable[[Any], Any], values: Iterable[Any]) -> Iterator[Any]:
    """Convert values; a run of the same object is converted once. All rows of a call share one time."""
    last = converted = None
    for value in values:
        if value is not last:
            last, converted = value, convert(value)
        yield converted


def microseconds_to_time(microseconds: int | None, _: BaseDatabaseWrapper | None = None) -> datetime | None:
    """Convert microseconds since 1970 to a time in UTC."""
    # A product takes half the time of a new timedelta, and each row that is read has two times.
    return None if microseconds is None else _EPOCH + microseconds * _MICROSECOND
