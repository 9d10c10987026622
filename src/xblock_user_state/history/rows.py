"""Rows of the history tables as tuples. For jobs over many learners: instances of models take ten times as long."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

from django.db import connections
from django.db.models import QuerySet

from xblock_user_state.history.entries import COLUMNS, Key, Owner
from xblock_user_state.history.models import BaseStudentModuleHistory
from xblock_user_state.store.dialects.rows import Target
from xblock_user_state.store.statements import fetch, selected


class EntryRow(NamedTuple):
    """A history entry as it is stored: the columns in the order of `COLUMNS`, and the model of its store."""

    student_id: Any
    block_id: int
    revision: int
    created: datetime
    encoding: int
    body: bytes | None
    grade: float | None
    max_grade: float | None
    version: str | None
    actor_id: Any
    model: type[BaseStudentModuleHistory]

    @property
    def owner(self) -> Owner:
        """The learner and block of the entry."""
        return Owner(self[0], self[1])

    @property
    def key(self) -> Key:
        """The primary key of the entry."""
        return Key(self[0], self[1], self[2])

    def instance(self) -> BaseStudentModuleHistory:
        """Return the entry as an unsaved instance of its model."""
        return self.model(**dict(zip(COLUMNS, self, strict=False)))


AnyEntry = EntryRow | BaseStudentModuleHistory


def entry_rows(entries: QuerySet[Any]) -> list[EntryRow]:
    """Return the entries of a queryset as tuples. One statement."""
    make = partial(EntryRow, model=entries.model)
    return [make(*values) for values in tuples(entries, COLUMNS)]


def tuples(rows: QuerySet[Any], columns: tuple[str, ...]) -> list[Any]:
    """Return columns of the rows of a queryset, converted as the store's own statements do. One statement."""
    connection = connections[rows.db]
    target = Target(connection, rows.model, columns, {})
    sql, parameters = rows.values_list("pk").query.get_compiler(rows.db).as_sql()
    # Django builds conditions, order and limit. Its own select list would take the slow converters of times.
    _, _, rest = sql.partition(" FROM ")
    sql = f"SELECT {selected(target)} FROM {rest}"  # noqa: S608 - names of tables and columns, and Django's SQL
    return list(fetch(target, sql, parameters))
