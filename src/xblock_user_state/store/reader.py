"""Reads one learner's rows: exactly the columns and rows that are asked for, and every statement pins the learner."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.expressions import Col
from xblock.fields import Scope

from xblock_user_state.interface import BlockScore
from xblock_user_state.state.arguments import RowKey
from xblock_user_state.state.change import Row
from xblock_user_state.state.keys import BlockId
from xblock_user_state.store.dialects import dialect_of
from xblock_user_state.store.dialects.base import Convert, Target
from xblock_user_state.store.tables import TABLES, Table, field_of

Item = TypeVar("Item")


def pieces(database: str, items: Sequence[Item], most: int = 10_000) -> Iterator[Sequence[Item]]:
    """Cut a sequence into pieces of at `most` so many, which one statement takes as a list of values."""
    connection = connections[database]
    size = min(most, dialect_of(connection).max_keys(connection))
    for start in range(0, len(items), size):
        yield items[start : start + size]


def read_rows(
    database: str, table: Table, student_id: Any, keys: Collection[RowKey], *, lock: bool = False
) -> dict[RowKey, Row]:
    """Return the rows that are there, locked in the order of their keys if `lock`. One statement for 10,000 keys."""
    found = _read(database, table, student_id, keys, table.columns, lock=lock)
    return {key: table.row(values) for key, values in found}


def read_scores(database: str, student_id: Any, keys: Collection[BlockId]) -> Iterator[tuple[int, BlockScore]]:
    """Yield id and score of the blocks that have a score. One statement for up to 10,000 keys."""
    table, columns = TABLES[Scope.user_state], ("grade", "max_grade", "modified")
    for key, (grade, max_grade, modified) in _read(database, table, student_id, keys, columns):
        if grade is not None and isinstance(key, BlockId):
            yield key.id, BlockScore(grade, max_grade, modified)


def _read(
    database: str,
    table: Table,
    student_id: Any,
    keys: Collection[RowKey],
    columns: tuple[str, ...],
    *,
    lock: bool = False,
) -> Iterator[tuple[RowKey, Sequence[Any]]]:
    connection = connections[database]
    target = Target(connection, table.model, (*table.key_columns, *columns), table.owner(student_id))
    by_value: Mapping[Any, RowKey] = {table.key_value(key): key for key in keys}
    locked = f" ORDER BY {target.layout.names[0]} FOR UPDATE" if lock else ""
    for conditions, parameters in _conditions(target, table, sorted(by_value) if table.key_columns else None):
        sql = f"SELECT {selected(target)} FROM {target.table} WHERE {' AND '.join(conditions)}{locked}"
        for values in fetch(target, sql, parameters):
            value = values[0] if table.key_columns else None
            yield by_value[value], values[len(table.key_columns) :]


def _conditions(
    target: Target, table: Table, values: Sequence[Any] | None
) -> Iterator[tuple[Sequence[str], Sequence[Any]]]:
    """Yield what each statement asks for: the learner, and some of the keys."""
    pinned, learner = [f"{name} = %s" for name in target.pinned_names], target.pinned_values()
    if values is None:
        yield pinned, learner
        return
    for some in pieces(target.connection.alias, values):
        condition, parameters = dialect_of(target.connection).among(target.layout.names[0], some)
        yield [*pinned, condition], [*learner, *parameters]


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
