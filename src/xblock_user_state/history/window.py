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

from xblock_user_state.history.encoding import DELTAS, MAX_CHAIN
from xblock_user_state.history.entries import COLUMNS, TOMBSTONE, EntryRow, Owner
from xblock_user_state.history.models import BaseStudentModuleHistory, HistoryOutbox
from xblock_user_state.history.unpacking import unpacked_newest_first
from xblock_user_state.store.dialects import dialect_of
from xblock_user_state.store.dialects.rows import Sql, Target
from xblock_user_state.store.statements import fetch, selected

Key = tuple[int, int]
"""Block and revision: the key of an entry among the entries of one learner."""

Entries = Mapping[Key, EntryRow]


@dataclass(frozen=True)
class Window:
    """The newest `count` entries before the revision `before`, and the older ones that they build on.

    Either limit needs a window of one block.
    """

    database: str
    """The alias of the state's database."""
    student_id: Any
    block_ids: Sequence[int]
    before: int | None = None
    count: int | None = None
    is_exact: bool = False
    """Leave out older rows that no entry of these builds on. The server has to look for the oldest one, which is wasted
    on a reader who goes on to the older entries."""

    @property
    def most(self) -> int | None:
        """The most entries that a store returns: the oldest of `count` may build on up to 31 older ones."""
        return None if self.count is None else self.count + MAX_CHAIN - 1

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
        # Of the outbox, which is short, a reader needs the tombstone too: the row of the lowest revision.
        if self.is_exact and model is not HistoryOutbox:
            condition, parameters = self._with_bases(target, condition, parameters)
        source = dialect_of(target.connection).keyed(target.table)
        sql = f"SELECT {selected(target)} FROM {source} WHERE {condition} ORDER BY {block_id}, {revision} DESC"
        if self.most is not None:
            # One row more, because the first may be the pack that ends at `before` or later.
            sql, parameters = f"{sql} LIMIT %s", [*parameters, self.most + (self.before is not None)]
        entries = unpacked_newest_first(
            EntryRow._make((*values, model, None, None, False))
            for values in fetch(target, sql, parameters, keep_plan=True)
        )
        wanted = (entry for entry in entries if self.before is None or entry.revision < self.before)
        found: dict[Key, EntryRow] = {}
        for entry in islice(wanted, self.most):
            key = entry.block_id, entry.revision
            found[key] = entry._replace(hidden=found[key]) if key in found else entry
        return found

    def newest(self, found: Entries) -> list[EntryRow]:
        """Return the newest entries of a merge of several stores, `most` of them, newest first, without tombstones."""
        return [found[key] for key in sorted(found, reverse=True)[: self.most] if key[1] != TOMBSTONE]

    def revisions(self, latest: int) -> range:
        """Return the revisions of the newest `count` entries of a block whose latest revision this is."""
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

    def _with_bases(self, target: Target, condition: str, parameters: Sequence[Any]) -> Sql:
        """Return the condition that leaves out the rows that are older than the newest `count` and their bases."""
        # The chain of the oldest one ends at the next entry that is no delta. Without one, every row is wanted.
        _, _, revision, *_ = target.layout.names
        [encoding] = target.layout.names_of(["encoding"])
        rows = f"SELECT {revision} FROM {target.table} WHERE {condition}"
        oldest = f"{rows} ORDER BY {revision} DESC LIMIT 1 OFFSET %s"
        deltas = ", ".join(map(str, DELTAS))
        base = f"{rows} AND {encoding} NOT IN ({deltas}) AND {revision} <= ({oldest}) ORDER BY {revision} DESC LIMIT 1"
        offset = (self.count or 1) - 1 + (self.before is not None)
        return f"{condition} AND {revision} >= COALESCE(({base}), 0)", [*parameters, *parameters, *parameters, offset]
