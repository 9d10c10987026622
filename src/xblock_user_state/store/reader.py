"""Reads one learner's rows by primary key, and rows that all share. Each pins the learner, and nothing is joined."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from xblock.fields import Scope

from xblock_user_state.interface import BlockScore
from xblock_user_state.state.change import Row, score_of
from xblock_user_state.state.keys import BlockId, RowKey
from xblock_user_state.store.dialects import dialect_of
from xblock_user_state.store.dialects.rows import Sql, Target
from xblock_user_state.store.statements import fetch, pieces, selected
from xblock_user_state.store.tables import TABLES, Table


def read_rows(
    database: str, table: Table, student_id: Any, keys: Collection[RowKey], *, lock: bool = False
) -> dict[RowKey, Row]:
    """Return the stored rows, locked in the order of their keys if `lock`. One statement for 10,000 keys."""
    found = _read(database, table, student_id, keys, table.columns, lock=lock)
    return {key: table.row(values) for key, values in found}


def read_tables(
    database: str, student_id: Any, keys: Mapping[Table, Collection[RowKey]]
) -> dict[Table, dict[RowKey, Row]]:
    """Return the stored rows of one learner in several tables, and those that all learners share.

    One statement, or two on Citus, or one for each table if it would have too many keys.
    """
    connection = connections[database]
    dialect = dialect_of(connection)
    if not dialect.mixes_owners and len({table.owned for table in keys}) > 1:
        of_learner = {table: of_table for table, of_table in keys.items() if table.owned}
        shared = {table: of_table for table, of_table in keys.items() if not table.owned}
        return read_tables(database, student_id, of_learner) | read_tables(database, student_id, shared)
    # Each part has a few other parameters; the room that `max_keys` leaves is for one.
    is_too_long = sum(len(of_table) + 10 for of_table in keys.values()) > dialect.max_keys(connection)
    if is_too_long or len(keys) < 2:
        return {table: read_rows(database, table, student_id, of_table) for table, of_table in keys.items()}
    # `user_state` is the widest: a union has the types of its first part, and is converted like it. In one order, so
    # that the statement has few texts.
    tables = [table for table in TABLES.values() if table in keys]
    columns = tables[0].columns
    parts = [_part(connection, number, table, student_id, keys[table], columns) for number, table in enumerate(tables)]
    by_value = [{table.key_value(key): key for key in keys[table]} for table in tables]
    found: dict[Table, dict[RowKey, Row]] = {table: {} for table in tables}
    sql, parameters = " UNION ALL ".join(part for part, _ in parts), chain.from_iterable(some for _, some in parts)
    widest = Target(connection, tables[0].model, columns, {})
    for number, block_id, block_type, *values in fetch(widest, sql, parameters, leading=3, keep_plan=True):
        key = by_value[number][block_type if block_id is None else block_id]
        found[tables[number]][key] = tables[number].row(values[: len(tables[number].columns)])
    return found


def _part(
    connection: BaseDatabaseWrapper,
    number: int,
    table: Table,
    student_id: Any,
    keys: Collection[RowKey],
    columns: tuple[str, ...],
) -> Sql:
    """Return the part of a union that selects a table's `number`, its key as id or text, and `columns` or NULL."""
    target = Target(connection, table.model, (*table.key_columns, *table.columns), table.pinned(student_id))
    [(conditions, parameters)] = _conditions(target, sorted(map(table.key_value, keys)) if table.key_columns else None)
    key = ["NULL", "NULL"]
    if table.key_column:
        key[table.key_column == "block_type"] = target.layout.names[0]
    values = [selected(replace(target, columns=table.columns)), *["NULL"] * (len(columns) - len(table.columns))]
    source = dialect_of(connection).keyed(target.table)
    sql = f"SELECT {', '.join([str(number), *key, *values])} FROM {source} WHERE {' AND '.join(conditions)}"
    return sql, list(parameters)


def read_scores(database: str, student_id: Any, keys: Collection[BlockId]) -> Iterator[tuple[int, BlockScore]]:
    """Yield id and score of the blocks that have a score. One statement for 10,000 keys."""
    table, columns = TABLES[Scope.user_state], ("grade", "max_grade", "modified", "created")
    for key, values in _read(database, table, student_id, keys, columns):
        score = score_of(*values)
        if score is not None and isinstance(key, BlockId):
            yield key.id, score


def _read(
    database: str,
    table: Table,
    student_id: Any,
    keys: Collection[RowKey],
    columns: tuple[str, ...],
    *,
    lock: bool = False,
) -> Iterator[tuple[RowKey, Sequence[Any]]]:
    """Yield the keys of stored rows, each with the values of the columns."""
    connection = connections[database]
    target = Target(connection, table.model, (*table.key_columns, *columns), table.pinned(student_id))
    by_value: Mapping[Any, RowKey] = {table.key_value(key): key for key in keys}
    # Every writer locks rows in this order, so two can't deadlock. The keys are sorted for the same reason.
    locked = f" ORDER BY {target.layout.names[0]} FOR UPDATE" if lock else ""
    source = dialect_of(connection).keyed(target.table)
    for conditions, parameters in _conditions(target, sorted(by_value) if table.key_columns else None):
        sql = f"SELECT {selected(target)} FROM {source} WHERE {' AND '.join(conditions)}{locked}"
        for values in fetch(target, sql, parameters, keep_plan=True):
            value = values[0] if table.key_columns else None
            yield by_value[value], values[len(table.key_columns) :]


def _conditions(target: Target, values: Sequence[Any] | None) -> Iterator[tuple[Sequence[str], Sequence[Any]]]:
    """Yield the conditions of each statement, with their parameters: the learner, and a list of keys."""
    dialect = dialect_of(target.connection)
    pinned, learner = dialect.pinned(target.layout), target.pinned_values()
    if values is None:
        yield pinned, learner
        return
    for some in pieces(target.connection.alias, values):
        condition, parameters = dialect.in_list(target.layout.names[0], some, keep_plan=True)
        yield [*pinned, condition], [*learner, *parameters]
