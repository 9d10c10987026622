"""What a history entry is: its key, its columns, and the stores that hold entries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar, cast

from django.apps import apps
from django.db import connections
from django.db.models import Q, QuerySet

from xblock_user_state import conf
from xblock_user_state.history.models import BaseStudentModuleHistory, HistoryOutbox, StudentModuleHistory

_EVERY_ROW = Q()

TOMBSTONE = 0
"""The revision of an outbox row that says: what the extended history has of this learner and block is gone."""

Key = tuple[Any, int, int]
"""Learner, block and revision: the primary key of a history entry."""

KEY = ("student_id", "block_id", "revision")

Entry = TypeVar("Entry", bound=BaseStudentModuleHistory)

_REST = tuple(field.attname for field in HistoryOutbox._meta.concrete_fields if field.attname not in KEY)
COLUMNS = (*KEY, *_REST)
"""All columns, those of the key first."""


def extended_model() -> type[BaseStudentModuleHistory]:
    """Return the model of the extended history, whose app a host need not install."""
    app = apps.get_app_config("xblock_user_state_extended_history")
    return cast("type[BaseStudentModuleHistory]", app.get_model("StudentModuleHistoryExtended"))


def stores(database: str) -> Iterator[tuple[type[BaseStudentModuleHistory], str]]:
    """Yield the stores and their databases, in the order in which entries move."""
    yield HistoryOutbox, database
    yield StudentModuleHistory, database
    if conf.has_extended_history():
        yield extended_model(), conf.history_database()


def store_name(model: type[BaseStudentModuleHistory]) -> str:
    """Return what people call the store of this model."""
    return {HistoryOutbox: "outbox", StudentModuleHistory: "default history"}.get(model, "extended history")


def shown_models() -> tuple[type[BaseStudentModuleHistory], ...]:
    """Return the models of the stores that the flags show to readers, in the order in which they are asked."""
    both = conf.reads_both_histories()
    has_extended = conf.has_extended_history()
    models: list[type[BaseStudentModuleHistory]] = [HistoryOutbox] if has_extended else []
    if both or not conf.value("EXTENDED_HISTORY"):
        models.append(StudentModuleHistory)
    if has_extended and (both or conf.value("EXTENDED_HISTORY")):
        models.append(extended_model())
    return tuple(models)


def take_write_lock(
    database: str, model: type[BaseStudentModuleHistory] = HistoryOutbox, which: Q = _EVERY_ROW
) -> None:
    """Lock out writers where rows can't be locked: SQLite, whose transactions may begin without a lock.

    To lock it deletes rows that never are, of those to which the caller keeps.
    """
    if not connections[database].features.has_select_for_update:
        model._base_manager.using(database).filter(which, revision__lt=TOMBSTONE)._raw_delete(database)


def following(rows: QuerySet[Entry], after: Key | None) -> QuerySet[Entry]:
    """Return the rows in the order of their keys, from the one that follows `after`."""
    # The first condition is implied by the second one, of which MariaDB by itself makes no range.
    return (rows if after is None else rows.filter(student_id__gte=after[0], pk__gt=after)).order_by(*KEY)


def insert_or_replace(model: type[Entry], alias: str, entries: Sequence[Entry], replaced: Sequence[str]) -> None:
    """Insert entries; of those whose key is there already, set the columns that are to be `replaced`."""
    # MySQL has one primary key to conflict with, and no way to name it.
    unique = KEY if connections[alias].features.supports_update_conflicts_with_target else None
    model._base_manager.using(alias).bulk_create(
        entries, update_conflicts=True, unique_fields=unique, update_fields=replaced
    )
