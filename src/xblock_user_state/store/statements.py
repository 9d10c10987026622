"""Statement tools: lists of keys cut to the vendor's limit, select expressions, and rows converted to Python."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.expressions import Col

from xblock_user_state.store.dialects import dialect_of
from xblock_user_state.store.dialects.rows import Convert, Target
from xblock_user_state.store.tables import field_of

Item = TypeVar("Item")


def pieces(database: str, items: Sequence[Item], most: int = 10_000) -> Iterator[Sequence[Item]]:
    """Cut a sequence into pieces of at `most` so many, which one statement takes as a list of values."""
    connection = connections[database]
    size = min(most, dialect_of(connection).max_keys(connection))
    for start in range(0, len(items), size):
        yield items[start : start + size]


def fetch(target: Target, sql: str, parameters: Iterable[Any], others: int = 0) -> Iterator[Sequence[Any]]:
    """Yield what a statement selects: so many `others`, and then the `selected` columns of the target."""
    converters = _reading(target.connection.alias, target.model, target.columns, "").converters
    with target.connection.cursor() as cursor:
        cursor.execute(sql, list(parameters))
        found: Sequence[Sequence[Any]] = cursor.fetchall()
    if not converters:
        yield from found
        return
    for values in found:
        converted = list(values)
        for number, convert in converters:
            converted[others + number] = convert(converted[others + number], target.connection)
        yield converted


def selected(target: Target, prefix: str = "") -> str:
    """Return the columns of a target as they are selected, with the table's name before each."""
    return _reading(target.connection.alias, target.model, target.columns, prefix).columns


class _Reading(NamedTuple):
    """How columns are selected, and what makes what Django gives of the values that differ."""

    columns: str
    converters: tuple[tuple[int, Convert], ...]


# A few lists of columns of some tables.
@lru_cache(256)
def _reading(alias: str, model: type[models.Model], columns: tuple[str, ...], prefix: str) -> _Reading:
    connection = connections[alias]
    names, converters = [], []
    for number, column in enumerate(columns):
        field = field_of(model, column)
        name, convert = dialect_of(connection).read_as(
            f"{prefix}{connection.ops.quote_name(column)}", field, connection
        )
        names.append(name)
        chain = convert or _converter(field, connection)
        if chain is not None:
            converters.append((number, chain))
    return _Reading(", ".join(names), tuple(converters))


def _converter(field: models.Field[Any, Any], connection: BaseDatabaseWrapper) -> Convert | None:
    """Return Django's way from a driver's value to its own."""
    expression = Col(field.model._meta.db_table, field)
    steps = [*connection.ops.get_db_converters(expression), *field.get_db_converters(connection)]

    def convert(value: Any, connection: BaseDatabaseWrapper) -> Any:
        for step in steps:
            value = step(value, expression, connection)
        return value

    return convert if steps else None
