"""Tools for statements: lists of keys cut to the vendor's limit, select expressions, and converted rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.expressions import Col

from xblock_user_state.store.dialects import dialect_of
from xblock_user_state.store.dialects.rows import Convert, Target, field_of, value_field

Item = TypeVar("Item")


def pieces(database: str, items: Sequence[Item], most: int = 10_000) -> Iterator[Sequence[Item]]:
    """Cut a sequence into pieces that one statement takes as a list of values: at `most` so many, or fewer."""
    connection = connections[database]
    size = min(most, dialect_of(connection).max_keys(connection))
    for start in range(0, len(items), size):
        yield items[start : start + size]


def fetch(target: Target, sql: str, parameters: Iterable[Any], leading: int = 0) -> Iterator[Sequence[Any]]:
    """Yield the rows of a query, converted to Python.

    It selects any number of `leading` columns, which stay as they are, and then the `selected` columns of the target.
    """
    converters = _selection(target.connection.alias, target.model, target.columns, "").converters
    with target.connection.cursor() as cursor:
        cursor.execute(sql, list(parameters))
        found: Sequence[Sequence[Any]] = cursor.fetchall()
    if not converters or not found:
        yield from found
        return
    # Column by column: turning rows into columns and back takes less time than a list for each row.
    columns = list(zip(*found, strict=True))
    for number, convert in converters:
        columns[leading + number] = tuple([convert(value, target.connection) for value in columns[leading + number]])
    yield from zip(*columns, strict=True)


def selected(target: Target, prefix: str = "") -> str:
    """Return the select expressions of a target's columns, as a list in SQL. The prefix is a table's alias and dot."""
    return _selection(target.connection.alias, target.model, target.columns, prefix).expressions


class _Selection(NamedTuple):
    """Select expressions of a table's columns, and the converters of their values, by the column's number."""

    expressions: str
    converters: tuple[tuple[int, Convert], ...]


# The package reads a handful of tables, each with a few lists of columns.
@lru_cache(256)
def _selection(alias: str, model: type[models.Model], columns: tuple[str, ...], prefix: str) -> _Selection:
    connection = connections[alias]
    expressions, converters = [], []
    for number, column in enumerate(columns):
        field = field_of(model, column)
        expression, convert = dialect_of(connection).select_expression(
            f"{prefix}{connection.ops.quote_name(column)}", field, connection
        )
        expressions.append(expression)
        converter = convert or _django_converter(field, connection)
        if converter is not None:
            converters.append((number, converter))
    return _Selection(", ".join(expressions), tuple(converters))


def _django_converter(field: models.Field[Any, Any], connection: BaseDatabaseWrapper) -> Convert | None:
    """Return the converter that Django's ORM would use for a field, if it uses any."""
    field = value_field(field)
    expression = Col(field.model._meta.db_table, field)
    steps = [*connection.ops.get_db_converters(expression), *field.get_db_converters(connection)]

    def convert(value: Any, connection: BaseDatabaseWrapper) -> Any:
        for step in steps:
            value = step(value, expression, connection)
        return value

    return convert if steps else None
