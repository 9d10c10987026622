"""What a client knows of rows that it has read or written: a change of such rows needs no read before.

Nothing hangs on its being true still: the write is guarded by a row's revision and the time at which it was created,
and rows that are not as they were known are read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from xblock_user_state.state.change import Row
from xblock_user_state.state.keys import RowKey
from xblock_user_state.store.tables import Table

MAX_ROWS = 1000
"""So many rows of one learner in one scope are remembered, for a page has no more; when there are more, none are."""

MAX_TEXT = 32 * 1024
"""Longer texts are not remembered."""


class RowCache:
    """Rows as somebody has committed them. For one client, which lives for a request."""

    def __init__(self) -> None:
        self._rows: dict[tuple[Table, Any], dict[RowKey, Row]] = defaultdict(dict)

    def remember(self, table: Table, student_id: Any, rows: Mapping[RowKey, Row]) -> None:
        """Keep what was read or written outside any transaction that may still be rolled back."""
        known = self._rows[table, student_id]
        if len(known) + len(rows) > MAX_ROWS:
            known.clear()
        if len(rows) <= MAX_ROWS:
            known.update((key, row) for key, row in rows.items() if len(row.text or "") <= MAX_TEXT)

    def recall(self, table: Table, student_id: Any, keys: Mapping[RowKey, Any]) -> Mapping[RowKey, Row] | None:
        """Return all of these rows; ``None`` if one of them is not known."""
        known = self._rows[table, student_id]
        return {key: known[key] for key in keys} if keys.keys() <= known.keys() else None

    def forget(self, table: Table, student_id: Any) -> None:
        """Forget rows of which one was not as it was known."""
        self._rows.pop((table, student_id), None)
