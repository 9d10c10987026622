"""A window of one learner's history: some blocks and a range of revisions, as a query that every store answers.

The rows are plain tuples. `Window.read` is the one place where readers turn rows of a store into entries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from django.db import connections
from django.db.models import Q

from xblock_user_state.history.entries import COLUMNS, TOMBSTONE, EntryRow, Owner
from xblock_user_state.history.models import BaseStudentModuleHistory
from xblock_user_state.history.unpacking import unpacked_newest_first
from xblock_user_state.store.dialects import dialect_of
from xblock_user_state.store.dialects.rows import Sql, Target
from xblock_user_state.store.statements import fetch, selected

Key = tuple[int, int]
"""Block and revision: the key of an entry among the entries of one learner."""

Entries = Mapping[Key, EntryRow]


@dataclass(frozen=True)
class Window:
    """The newest `count` entries before the revision `before`. Either limit needs a window of one block."""

    database: str
    """The alias of the state's database."""
    student_id: Any
    block_ids: Sequence[int]
    before: int | None = None
    count: int | None = None

    def owners(self) -> list[Owner]:
        """Return an owner for each block."""
        return [Owner(self.student_id, block_id) for block_id in self.block_ids]

    def condition(self) -> Q:
        """Return the condition for learner and blocks, whatever the revision."""
        # With `block_id = x` every database takes the newest rows from the primary key, without a sort.
        blocks = {"block_id": self.block_ids[0]} if len(self.block_ids) == 1 else {"block_id__in": self.block_ids}
        return Q(student_id=self.student_id, **blocks)

    def read(self, model: type[BaseStudentModuleHistory], alias: str) -> Entries:
        """Return the entries that a store has in the window, tombstones included. One statement."""
        target = Target(connections[alias], model, COLUMNS, {"student_id": self.student_id})
        _, block_id, revision, *_ = target.layout.names
        condition, parameters = self._in_sql(target)
        sql = f"SELECT {selected(target)} FROM {target.table} WHERE {condition} ORDER BY {block_id}, {revision} DESC"
        if self.count is not None:
            # One row more, because the first may be the pack that ends at `before` or later.
            sql, parameters = f"{sql} LIMIT %s", [*parameters, self.count + (self.before is not None)]
        entries = unpacked_newest_first(
            EntryRow._make((*values, model, None, None)) for values in fetch(target, sql, parameters, keep_plan=True)
        )
        wanted = (entry for entry in entries if self.before is None or entry.revision < self.before)
        found: dict[Key, EntryRow] = {}
        for entry in islice(wanted, self.count):
            key = entry.block_id, entry.revision
            found[key] = entry._replace(hidden=found[key]) if key in found else entry
        return found

    def newest(self, found: Entries) -> list[EntryRow]:
        """Return the newest `count` entries of a merge of several stores, newest first, without tombstones."""
        return [found[key] for key in sorted(found, reverse=True)[: self.count] if key[1] != TOMBSTONE]

    def revisions(self, latest: int) -> range:
        """Return the revisions that the window shows of a block whose latest revision this is."""
        # Revisions have no gaps (law 3), so the numbers follow from the two limits.
        top = latest if self.before is None else min(latest, self.before - 1)
        bottom = 1 if self.count is None else max(1, top - self.count + 1)
        return range(bottom, top + 1)

    def _in_sql(self, target: Target) -> Sql:
        dialect, (_, block_id, revision, *_) = dialect_of(target.connection), target.layout.names
        # As in `condition`.
        of_blocks, blocks = f"{block_id} = %s", [*self.block_ids]
        if len(self.block_ids) != 1:
            of_blocks, blocks = dialect.in_list(block_id, self.block_ids, keep_plan=True)
        condition, parameters = " AND ".join([*dialect.pinned(target.layout), of_blocks]), target.pinned_values()
        parameters = [*parameters, *blocks]
        if self.before is None:
            return condition, parameters
        # A pack has its newest revision as key. The next key is that of the pack, or of a row that is left out later.
        next_key = (
            f"SELECT {revision} FROM {target.table} WHERE {condition} AND {revision} >= %s ORDER BY {revision} LIMIT 1"
        )
        limits = [*parameters, self.before, self.before]
        return f"{condition} AND {revision} <= COALESCE(({next_key}), %s)", [*parameters, *limits]
