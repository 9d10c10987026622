"""Iterates over the rows of all learners: the one place whose statements do not pin a learner.

Pages by key: memory is bounded by the page, every page is a statement of its own, so nothing is open between
two of them and a pooler in transaction mode (PgBouncer) does no harm. Deleted and never-had states are left
out by the query.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from django.db.models import QuerySet

from xblock_user_state.models import Block
from xblock_user_state.state.change import DELETED
from xblock_user_state.state.keys import is_storable
from xblock_user_state.store.reader import pieces
from xblock_user_state.store.tables import Table

# How many keys one statement asks for.
_KEYS = 500


class Found(NamedTuple):
    """A row of an iteration: the value of the key column and the learner, where the table has them."""

    key: Any
    student_id: Any
    text: str
    modified: datetime


def pages(database: str, table: Table, keys: Sequence[Any], size: int) -> Iterator[list[Found]]:
    """Yield all rows under `keys` (values of the key column; one that is ``None`` where there is no such column).

    In pages of 1 to `size` rows: keys in their order in pieces of some hundred, then by key and learner.
    """
    scan = _Scan(database, table, size)
    if table.key_column is None:
        yield from scan.of_learners(None, after=None)
        return
    for piece in pieces(database, keys, _KEYS):
        yield from scan.of_keys(sorted(piece))


def blocks_of(database: str, context_id: int, block_type: str | None) -> dict[int, tuple[str, str]]:
    """Return context key and usage key of the blocks of a course, by id. One statement."""
    blocks = Block.objects.using(database).filter(context_id=context_id)
    if block_type is not None:
        blocks = blocks.filter(block_type=block_type) if is_storable(block_type) else blocks.none()
    found = blocks.order_by("id").values_list("id", "context__key", "usage_key")
    return {id_: (context, usage_key) for id_, context, usage_key in found}


class _Scan:
    """One iteration's queries."""

    def __init__(self, database: str, table: Table, size: int) -> None:
        self.table, self.size = table, size
        rows: QuerySet[Any, Any] = table.model._base_manager.using(database)
        self.rows = rows.exclude(state=None).exclude(state=DELETED)

    def of_keys(self, keys: Sequence[Any]) -> Iterator[list[Found]]:
        """Yield the pages of some keys, given in their order."""
        rest = keys
        while rest:
            page = self._page(self.rows.filter(**{f"{self.table.key_column}__in": rest}))
            if page:
                yield page
            if len(page) < self.size:
                return
            last = page[-1]
            if self.table.owned:
                yield from self.of_learners(last.key, after=last.student_id)
            rest = [key for key in rest if key > last.key]

    def of_learners(self, key: Any, *, after: Any) -> Iterator[list[Found]]:
        """Yield the pages of one key, from the learner that follows `after`."""
        rows = self.rows if key is None else self.rows.filter(**{str(self.table.key_column): key})
        while True:
            page = self._page(rows if after is None else rows.filter(student_id__gt=after))
            if page:
                yield page
            if len(page) < self.size:
                return
            after = page[-1].student_id

    def _page(self, rows: QuerySet[Any, Any]) -> list[Found]:
        key = self.table.key_column
        columns = [column for column in (key, self.table.owned and "student_id") if column]
        found = rows.order_by(*columns).values(*columns, "state", "modified")[: self.size]
        return [Found(row[key] if key else None, row.get("student_id"), row["state"], row["modified"]) for row in found]
