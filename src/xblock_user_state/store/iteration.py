"""Iterates over the rows of all learners, page by page.

Its statements pin no learner; law 7 in docs/concepts lists all places that may do so.

Each page is a statement that begins after the last key of the page before (keyset paging). Memory is bounded by the
page. No cursor and no transaction stays open between pages, so a pooler in transaction mode (PgBouncer) is fine. The
query leaves out deleted states and rows that have only a score.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from django.db import connections

from xblock_user_state.state.change import DELETED
from xblock_user_state.state.keys import is_storable
from xblock_user_state.store.dialects import dialect_of
from xblock_user_state.store.dialects.rows import REVISION, Sql, Target, field_of
from xblock_user_state.store.models import Block
from xblock_user_state.store.statements import fetch, pieces, selected
from xblock_user_state.store.tables import Table

# How many keys one statement has.
_KEYS = 500


class Found(NamedTuple):
    """A row of an iteration. Key and learner are ``None`` in tables without such a column."""

    key: Any
    student_id: Any
    text: str
    modified: datetime
    revision: int


def pages(
    database: str, table: Table, keys: Sequence[Any], size: int, after: tuple[Any, Any] | None = None
) -> Iterator[list[Found]]:
    """Yield the rows of all learners under `keys`, the values of the key column, in pages of 1 to `size` rows.

    Rows are ordered by key and learner. A table without a key column takes ``[None]``. `after` is the key and the
    learner of a row to go on from, which need not exist any more.
    """
    scan = _Scan(database, table, size)
    key, learner = (None, None) if after is None else after
    if table.key_column is None:
        yield from scan.of_learners(None, after=learner)
        return
    if key in keys and table.owned:
        yield from scan.of_learners(key, after=learner)
    left = sorted(keys) if key is None else sorted(each for each in keys if each > key)
    for piece in pieces(database, left, _KEYS):
        yield from scan.of_keys(piece)


def blocks_of(database: str, context_id: int, block_type: str | None) -> dict[int, tuple[str, str]]:
    """Return context key and usage key of each block of a course, by id. One statement."""
    blocks = Block.objects.using(database).filter(context_id=context_id)
    if block_type is not None:
        blocks = blocks.filter(block_type=block_type) if is_storable(block_type) else blocks.none()
    found = blocks.order_by("id").values_list("id", "context__key", "usage_key")
    return {id_: (context, usage_key) for id_, context, usage_key in found}


class _Scan:
    """The queries of one iteration."""

    def __init__(self, database: str, table: Table, size: int) -> None:
        self.table, self.size = table, size
        # Rows are ordered by the index (block, student), which every page reads from the middle.
        self._order = (*table.key_columns, *(("student_id",) if table.owned else ()))
        self._target = Target(connections[database], table.model, (*self._order, "state", "modified", REVISION), {})

    def of_keys(self, keys: Sequence[Any]) -> Iterator[list[Found]]:
        """Yield the pages of some keys, which are sorted."""
        rest = keys
        while rest:
            page = self._page(dialect_of(self._target.connection).in_list(self._names[0], rest))
            if page:
                yield page
            if len(page) < self.size:
                return
            # A page may end within a key. The rest of this key comes first, by an exact key and the last learner: the
            # comparison (key, learner) > (%s, %s) would not use the index on MariaDB and MySQL.
            last = page[-1]
            if self.table.owned:
                yield from self.of_learners(last.key, after=last.student_id)
            # Keys between two of the page have no rows, and are dropped with the keys that are done.
            rest = [key for key in rest if key > last.key]

    def of_learners(self, key: Any, *, after: Any) -> Iterator[list[Found]]:
        """Yield the pages of one key, from the first learner with an id above `after`."""
        learner = self._names[len(self.table.key_columns)]
        of_key = [] if key is None else [(f"{self._names[0]} = %s", [key])]
        while True:
            page = self._page(*of_key, *([] if after is None else [(f"{learner} > %s", [self._prepared(after)])]))
            if page:
                yield page
            if len(page) < self.size:
                return
            after = page[-1].student_id

    @property
    def _names(self) -> Sequence[str]:
        return self._target.layout.names

    def _prepared(self, student_id: Any) -> Any:
        """Return a learner's id, which may be of any type, for the driver."""
        return field_of(self.table.model, "student_id").get_db_prep_value(student_id, self._target.connection)

    def _page(self, *conditions: Sql) -> list[Found]:
        target, order, text = self._target, self._names[: len(self._order)], self._names[len(self._order)]
        wanted = [*(sql for sql, _ in conditions), f"{text} IS NOT NULL", f"{text} <> %s"]
        sql = (
            f"SELECT {selected(target)} FROM {target.table} WHERE {' AND '.join(wanted)} "
            f"ORDER BY {', '.join(order)} LIMIT {self.size}"
        )
        parameters = [*(value for _, values in conditions for value in values), DELETED]
        if self.table.key_columns and self.table.owned:
            return [Found(*values) for values in fetch(target, sql, parameters)]
        rows = fetch(target, sql, parameters)
        if self.table.owned:
            return [Found(None, *values) for values in rows]
        return [Found(key, None, *values) for key, *values in rows]
