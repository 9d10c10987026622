"""A window of one learner's history: some blocks and a range of revisions, as a query that every store answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from django.db.models import Q, QuerySet, Subquery
from django.db.models.functions import Coalesce

from xblock_user_state.history.entries import TOMBSTONE, Entry, Owner, all_rows
from xblock_user_state.history.models import BaseStudentModuleHistory
from xblock_user_state.history.unpacking import unpacked_newest_first

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
        """Return the entries that a store has in the window, tombstones included. One statement."""
        rows = all_rows(model, alias).filter(self.condition())
        rows = rows if self.before is None else _up_to(rows, self.before)
        # One row more, because the first may be the pack that ends at `before` or later.
        count = None if self.count is None else self.count + (self.before is not None)
        entries = unpacked_newest_first(rows.order_by("block_id", "-revision")[:count])
        wanted = (entry for entry in entries if self.before is None or entry.revision < self.before)
        found: Entries = {}
        for entry in islice(wanted, self.count):
            key = entry.block_id, entry.revision
            entry.hidden = found.get(key)
            found[key] = entry
        return found

    def newest(self, found: Entries) -> Entries:
        """Return the newest `count` entries of a merge of several stores, without tombstones."""
        return {key: found[key] for key in sorted(found, reverse=True)[: self.count] if key[1] != TOMBSTONE}

    def revisions(self, latest: int) -> range:
        """Return the revisions that the window shows of a block whose latest revision this is."""
        # Revisions have no gaps (law 3), so the numbers follow from the two limits.
        top = latest if self.before is None else min(latest, self.before - 1)
        bottom = 1 if self.count is None else max(1, top - self.count + 1)
        return range(bottom, top + 1)


def _up_to(rows: QuerySet[Entry], before: int) -> QuerySet[Entry]:
    """Return the rows before the revision `before`, and the pack that has older entries too, if there is one."""
    # The key of a pack is its newest revision. The next key is that of the pack, or of a row that is left out later.
    following = rows.filter(revision__gte=before).order_by("revision").values("revision")[:1]
    return rows.filter(revision__lte=Coalesce(Subquery(following), before))
