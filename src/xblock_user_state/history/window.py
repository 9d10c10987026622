"""A window of one learner's history: some blocks and a range of revisions, as a query that every store answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Q

from xblock_user_state.history.entries import TOMBSTONE, Owner, all_rows
from xblock_user_state.history.models import BaseStudentModuleHistory

Key = tuple[int, int]
"""Block and revision: the key of an entry among the entries of one learner."""

Entries = dict[Key, BaseStudentModuleHistory]


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
        """Return the rows that a store has in the window, tombstones included. One statement."""
        rows = all_rows(model, alias).filter(self.condition())
        if self.before is not None:
            rows = rows.filter(revision__lt=self.before)
        return {(row.block_id, row.revision): row for row in rows.order_by("block_id", "-revision")[: self.count]}

    def newest(self, found: Entries) -> Entries:
        """Return the newest `count` entries of a merge of several stores, without tombstones."""
        return {key: found[key] for key in sorted(found, reverse=True)[: self.count] if key[1] != TOMBSTONE}

    def revisions(self, latest: int) -> range:
        """Return the revisions that the window shows of a block whose latest revision this is."""
        # Revisions have no gaps (law 3), so the numbers follow from the two limits.
        top = latest if self.before is None else min(latest, self.before - 1)
        bottom = 1 if self.count is None else max(1, top - self.count + 1)
        return range(bottom, top + 1)
