"""Rows of the history tables as tuples. For jobs over many learners: instances of models take ten times as long."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.db import connections
from django.db.models import QuerySet

from xblock_user_state.history.entries import COLUMNS, EntryRow
from xblock_user_state.history.models import BaseStudentModuleHistory
from xblock_user_state.store.dialects.rows import Target
from xblock_user_state.store.statements import fetch, selected


def instance(entry: EntryRow) -> BaseStudentModuleHistory:
    """Return an entry as an unsaved instance of its model."""
    return entry.store(**dict(zip(COLUMNS, entry, strict=False)))


def entry_rows(entries: QuerySet[Any]) -> list[EntryRow]:
    """Return the entries of a queryset as tuples. One statement."""
    make = partial(EntryRow, store=entries.model)
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
