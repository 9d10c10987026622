"""The row cache of a client: a change of rows that it has read or written needs no lookup.

A cached row is a hint: the compare-and-set verifies its revision and its time of creation. If they differ, the write
looks the rows up.

These two name the content of a committed row. They don't name that of a row in an open transaction: after a rollback to
a savepoint, another writer may give the row the same revision. So the rows of a caller's transaction are cached apart,
until that transaction or a part of it ends.
"""

from __future__ import annotations

from collections import ChainMap, defaultdict
from collections.abc import Collection, Mapping, MutableMapping
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from xblock_user_state.state.change import Row
from xblock_user_state.state.keys import RowKey
from xblock_user_state.store.tables import Table

MAX_ROWS = 1000
"""Rows of one learner in one scope that are cached at most: more than a page has. One row more empties the cache."""

MAX_TEXT = 32 * 1024
"""The longest state that is cached, in characters."""

_Rows = MutableMapping[tuple[Table, Any], dict[RowKey, Row]]


class RowCache:
    """Rows by table and learner. A cache lives as long as its client: for a request."""

    def __init__(self) -> None:
        self._committed: _Rows = defaultdict(dict)
        # In one attribute, with the hooks that name the transaction: threads have transactions of their own.
        self._of_transaction: tuple[object, _Rows] = (None, defaultdict(dict))

    def remember(
        self, connection: BaseDatabaseWrapper, table: Table, student_id: Any, rows: Mapping[RowKey, Row]
    ) -> None:
        """Cache rows that were read or written."""
        if connection.get_autocommit():
            cached = self._committed[table, student_id]
        elif (of_transaction := self._follow(connection)) is not None:
            cached = of_transaction[table, student_id]
        else:
            return
        # A request that reads so many rows works through a course, and will hardly come back to the first ones.
        if len(cached) + len(rows) > MAX_ROWS:
            cached.clear()
        if len(rows) <= MAX_ROWS:
            cached.update((key, row) for key, row in rows.items() if len(row.text or "") <= MAX_TEXT)

    def recall(
        self, connection: BaseDatabaseWrapper, table: Table, student_id: Any, keys: Collection[RowKey]
    ) -> Mapping[RowKey, Row] | None:
        """Return the rows of all `keys`; ``None`` if one of them is not cached."""
        # All or none: a lookup of the missing rows is a round trip, and one of all rows is not dearer.
        found = self.cached(connection, table, student_id, keys)
        return found if len(found) == len(keys) else None

    def cached(
        self, connection: BaseDatabaseWrapper, table: Table, student_id: Any, keys: Collection[RowKey]
    ) -> Mapping[RowKey, Row]:
        """Return the rows of these keys that are cached."""
        rows: Mapping[RowKey, Row] = self._committed[table, student_id]
        if not connection.get_autocommit() and (of_transaction := self._follow(connection)) is not None:
            rows = ChainMap(of_transaction[table, student_id], self._committed[table, student_id])
        return {key: rows[key] for key in keys if key in rows}

    def forget(self, table: Table, student_id: Any) -> None:
        """Drop a learner's rows in one scope, because one of them was stale."""
        self._committed.pop((table, student_id), None)
        self._of_transaction[1].pop((table, student_id), None)

    def _follow(self, connection: BaseDatabaseWrapper) -> _Rows | None:
        """Forget the rows of another transaction; return those of the present one, ``None`` if none may be cached."""
        hooks, rows = self._of_transaction
        # Django makes a new list of hooks at each commit and each rollback, also to a savepoint.
        if connection.run_on_commit is not hooks:
            rows = defaultdict(dict)
            self._of_transaction = (connection.run_on_commit, rows)
        # A deadlock rolls back a transaction of MySQL or SQLite, and Django learns of the error only.
        return None if connection.errors_occurred else rows
