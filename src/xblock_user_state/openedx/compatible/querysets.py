"""Querysets whose bulk calls go through the write path, row by row, in one transaction.

A mixin for the platform's class too. Reads are Django's, over the view.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, Self

from django.db import NotSupportedError, connections, models, transaction
from xblock.fields import Scope

from xblock_user_state.openedx.compatible.deleting import delete_instances
from xblock_user_state.openedx.compatible.keys import block_of
from xblock_user_state.state.keys import RowKey
from xblock_user_state.store.databases import state_database
from xblock_user_state.store.reader import read_rows
from xblock_user_state.store.tables import TABLES
from xblock_user_state.store.transactions import repeat

# Untyped: the stubs hide what a queryset must override here.
_QuerySet: Any = models.QuerySet


class CompatibleQuerySet(_QuerySet):
    """Reads rows from the view, and writes them through the write path.

    ``update`` and the bulk calls save each row by itself: a revision and a history entry each, all or nothing. Calls
    that load the rows themselves are repeated after a deadlock, outside of a caller's transaction.
    """

    _locks_rows = False

    @property
    def db(self) -> str:
        """The database of learner state, unless ``using`` names another."""
        return self._db or state_database()

    def get_or_create(self, defaults: Any = None, **conditions: Any) -> tuple[Any, bool]:
        """Return the row and whether it was created, as Django does."""
        # Django creates in a transaction, where the write path can't begin anew. Callers that create the same row at
        # once wait for each other there, and on MariaDB all but one or two of them meet in a deadlock.
        found: tuple[Any, bool] = repeat(self.db, partial(super().get_or_create, defaults, **conditions))
        return found

    get_or_create.alters_data = True  # type: ignore[attr-defined]

    def update_or_create(
        self, defaults: Any = None, create_defaults: Any = None, **conditions: Any
    ) -> tuple[Any, bool]:
        """Set values of the row, or create it; return it and whether it was created, as Django does."""
        call = partial(super().update_or_create, defaults, create_defaults, **conditions)
        updated: tuple[Any, bool] = repeat(self.db, call)
        return updated

    update_or_create.alters_data = True  # type: ignore[attr-defined]

    def delete(self) -> tuple[int, dict[str, int]]:
        """Delete the rows for good, with their history; return the numbers, as Django does. Loads their keys."""
        if self.query.is_sliced or self.query.distinct or self._fields is not None:
            raise TypeError("Cannot call delete() on a slice, after distinct(), or after values() or values_list()")
        rows = self._chain().select_related(None).order_by()
        deleted = delete_instances(self.model, list(rows), self.db)
        self._result_cache = None
        return deleted

    delete.alters_data = True  # type: ignore[attr-defined]
    delete.queryset_only = True  # type: ignore[attr-defined]

    def update(self, **values: Any) -> int:
        """Set these values in each row; return the number of rows. Raises ``TypeError`` for expressions."""
        if self.query.is_sliced:
            raise TypeError("Cannot update a query once a slice has been taken.")
        _check_names(values)
        number = repeat(self.db, partial(self._update, values))
        self._result_cache = None
        return number

    update.alters_data = True  # type: ignore[attr-defined]

    def _update(self, values: Mapping[str, Any]) -> int:
        rows = list(self._chain().select_related(None).order_by().select_for_update())
        for row in rows:
            for name, value in values.items():
                setattr(row, name, value)
            row.save_silently(self.db, list(values))
        return len(rows)

    def bulk_create(self, objs: Iterable[Any], *args: Any, **options: Any) -> list[Any]:
        """Create rows, all or none, without signals. Rows that exist raise ``IntegrityError``."""
        if args[1:] or any(value for name, value in options.items() if name != "batch_size"):
            raise NotSupportedError("bulk_create() takes no other options than batch_size here")
        rows = list(objs)
        with transaction.atomic(using=self.db):
            for row in rows:
                row.save_silently(self.db, None)
        return rows

    def bulk_update(self, objs: Iterable[Any], fields: Iterable[str], batch_size: int | None = None) -> int:
        """Save these fields of each row, without signals; return the number of rows."""
        rows, names = list(objs), list(fields)
        _check_names(names)
        with transaction.atomic(using=self.db):
            for row in rows:
                row.save_silently(self.db, names)
        return len(rows)

    bulk_update.alters_data = True  # type: ignore[attr-defined]

    def select_for_update(self, nowait: bool = False, skip_locked: bool = False, of: Any = (), **_: Any) -> Self:
        """Lock the rows when they are read, and show them as they are then. The view itself can't be locked."""
        if nowait or skip_locked or of:
            raise NotSupportedError("select_for_update() takes no options here")
        locking: Self = self._chain()
        locking._locks_rows = True
        return locking

    def _clone(self) -> Self:
        clone: Self = super()._clone()
        clone._locks_rows = self._locks_rows
        return clone

    def _fetch_all(self) -> None:
        is_fetched = self._result_cache is not None
        super()._fetch_all()
        if self._locks_rows and not is_fetched:
            if self._fields is not None:
                raise NotSupportedError("select_for_update() takes no values() or values_list() here")
            _lock(self._result_cache, self.db)

    def iterator(self, chunk_size: int | None = None) -> Iterator[Any]:
        """Iterate over the rows without keeping them, unless they are to be locked."""
        return iter(self._chain()) if self._locks_rows else super().iterator(chunk_size)


class ChunkingManager(models.Manager.from_queryset(CompatibleQuerySet)):  # type: ignore[misc]
    """The manager of the compatible model."""

    def chunked_filter(self, chunk_field: str, items: Iterable[Any], **conditions: Any) -> Iterator[Any]:
        """Yield the rows whose `chunk_field`, an ``__in`` lookup, has some of `items`: 500 in a statement."""
        size, rest = conditions.pop("chunk_size", 500), list(items)
        chunks = (rest[start : start + size] for start in range(0, len(rest), size))
        return itertools.chain.from_iterable(self.filter(**{chunk_field: chunk}, **conditions) for chunk in chunks)


def _check_names(names: Collection[str] | Mapping[str, Any]) -> None:
    unknown = set(names) - {"state", "grade", "max_grade", "done"}
    if unknown:
        raise NotSupportedError(
            f"{', '.join(sorted(unknown))} can't be set in many rows: only state, grade, max_grade and done can"
        )


def _lock(rows: Any, using: str) -> None:
    """Lock the rows, learner by learner in the order of their keys, and give the instances the values of the rows.

    Takes those out of the list that are gone.
    """
    if not connections[using].features.has_select_for_update:
        return
    if connections[using].get_autocommit():
        raise transaction.TransactionManagementError("select_for_update cannot be used outside of a transaction.")
    by_learner: dict[Any, dict[RowKey, Any]] = {}
    for row in rows:
        by_learner.setdefault(row.student_id, {})[block_of(row.module_state_key, row.course_id)] = row
    table, locked = TABLES[Scope.user_state], set()
    for student_id, blocks in sorted(by_learner.items()):
        for block, found in read_rows(using, table, student_id, list(blocks), lock=True).items():
            blocks[block].take_locked(dict(zip(table.columns, table.values(found), strict=True)))
            locked.add(id(blocks[block]))
    rows[:] = [row for row in rows if id(row) in locked]
