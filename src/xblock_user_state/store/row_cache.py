"""The row cache of a client: a change of rows that it has read or written needs no lookup.

A cached row is a hint: the compare-and-set verifies its revision and its time of creation. If they differ, the write
looks the rows up.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any

from xblock_user_state.state.change import Row
from xblock_user_state.state.keys import RowKey
from xblock_user_state.store.tables import Table

MAX_ROWS = 1000
"""Rows of one learner in one scope that are cached at most: more than a page has. One row more empties the cache."""

MAX_TEXT = 32 * 1024
"""The longest state that is cached, in characters."""


class RowCache:
    """Committed rows, by table and learner. A cache lives as long as its client: for a request."""

    def __init__(self) -> None:
        self._rows: dict[tuple[Table, Any], dict[RowKey, Row]] = defaultdict(dict)

    def remember(self, table: Table, student_id: Any, rows: Mapping[RowKey, Row]) -> None:
        """Cache rows that were read or written outside a caller's transaction, which might roll back."""
        cached = self._rows[table, student_id]
        # A request that reads so many rows works through a course, and will hardly come back to the first ones.
        if len(cached) + len(rows) > MAX_ROWS:
            cached.clear()
        if len(rows) <= MAX_ROWS:
            cached.update((key, row) for key, row in rows.items() if len(row.text or "") <= MAX_TEXT)

    def recall(self, table: Table, student_id: Any, keys: Mapping[RowKey, Any]) -> Mapping[RowKey, Row] | None:
        """Return the rows of all `keys`; ``None`` if one of them is not cached."""
        # All or none: a lookup of the missing rows is a round trip, and one of all rows is not dearer.
        cached = self._rows[table, student_id]
        return {key: cached[key] for key in keys} if keys.keys() <= cached.keys() else None

    def cached(self, table: Table, student_id: Any, keys: Collection[RowKey]) -> Mapping[RowKey, Row]:
        """Return the rows of these keys that are cached."""
        rows = self._rows[table, student_id]
        return {key: rows[key] for key in keys if key in rows}

    def forget(self, table: Table, student_id: Any) -> None:
        """Drop a learner's rows in one scope, because one of them was stale."""
        self._rows.pop((table, student_id), None)
