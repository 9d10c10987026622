"""Reads one learner's rows: exactly the columns and rows that are asked for, and every statement pins the learner."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from django.db import connections
from django.db.models import QuerySet

from xblock_user_state.interface import BlockScore
from xblock_user_state.models import StudentModule
from xblock_user_state.state.arguments import RowKey
from xblock_user_state.state.change import Row
from xblock_user_state.state.keys import BlockId
from xblock_user_state.store.dialects import dialect_of
from xblock_user_state.store.tables import Table

Item = TypeVar("Item")


def pieces(database: str, items: Sequence[Item], most: int = 10_000) -> Iterator[Sequence[Item]]:
    """Cut a sequence into pieces of at `most` so many, which one statement takes as a list of values."""
    connection = connections[database]
    size = min(most, dialect_of(connection).max_keys(connection))
    for start in range(0, len(items), size):
        yield items[start : start + size]


def read_states(
    database: str, table: Table, student_id: Any, keys: Collection[RowKey]
) -> dict[RowKey, tuple[str | None, datetime]]:
    """Return text and time of the rows that are there. One statement for up to 10,000 keys."""
    return {
        key: (text, modified) for key, text, modified in _read(database, table, student_id, keys, ("state", "modified"))
    }


def read_rows(
    database: str, table: Table, student_id: Any, keys: Collection[RowKey], *, lock: bool
) -> dict[RowKey, Row]:
    """Return the rows that are there, locked in the order of their keys if `lock`. One statement for 10,000 keys."""
    found = _read(database, table, student_id, keys, table.columns, lock=lock)
    return {key: table.row(tuple(values)) for key, *values in found}


def read_scores(database: str, student_id: Any, keys: Collection[BlockId]) -> Iterator[tuple[int, BlockScore]]:
    """Yield id and score of the blocks that have a score. One statement for up to 10,000 keys."""
    for ids in pieces(database, [key.id for key in keys]):
        rows = StudentModule.objects.using(database).filter(student_id=student_id, block_id__in=ids)
        for id_, grade, max_grade, modified in rows.values_list("block_id", "grade", "max_grade", "modified"):
            if grade is not None:
                yield id_, BlockScore(grade, max_grade, modified)


def _read(
    database: str,
    table: Table,
    student_id: Any,
    keys: Collection[RowKey],
    columns: tuple[str, ...],
    *,
    lock: bool = False,
) -> Iterator[tuple[Any, ...]]:
    by_value: Mapping[Any, RowKey] = {table.key_value(key): key for key in keys}
    rows = table.model._base_manager.using(database).filter(**table.owner(student_id))
    rows = rows.select_for_update() if lock else rows
    if table.key_column is None:
        yield from ((None, *values) for values in rows.values_list(*columns))
        return
    for values in pieces(database, sorted(by_value)):
        found: QuerySet[Any, Any] = rows.filter(**{f"{table.key_column}__in": values}).order_by(table.key_column)
        for value, *rest in found.values_list(table.key_column, *columns):
            yield (by_value[value], *rest)
