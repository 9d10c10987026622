"""Finds, and removes, history that belongs to no state row, for `sweep_history`.

The ORM deletes history with its row. What deletes rows past it (SQL, a restored backup) leaves entries behind, which
readers show to a learner who begins anew, and which stand in the way of new ones.

Nothing is locked. Entries are read before the rows. An entry is committed with its row: if the row is not there
afterwards, has a lower revision, or was made later, the entry is of an earlier life. It is removed by its key and its
time, so that a new entry with the same key stays. A life's orphans are its newest entries or all of them, so no entry
that stays builds on one that goes. No statement here pins a learner.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial, reduce
from operator import or_
from typing import Any, NamedTuple

from django.db.models import Q

from xblock_user_state.history.entries import (
    KEY,
    TOMBSTONE,
    Key,
    Owner,
    following,
    owner_of,
    store_name,
    stores,
    tombstoned_among,
)
from xblock_user_state.history.models import BaseStudentModuleHistory, HistoryOutbox
from xblock_user_state.maintenance.paging import PAGE, rows_of
from xblock_user_state.store.models import StudentModule
from xblock_user_state.store.statements import pieces
from xblock_user_state.store.transactions import errors_translated, repeat

NO_STATE = "there is no state"

# Entries named in one statement by four columns: SQLite's parser takes up to 1,000 conditions.
_ENTRIES = 100


class Life(NamedTuple):
    """What tells the entries of a state row from those of earlier ones, and from those that it never had."""

    revision: int
    created: datetime


def why_orphan(revision: int, created: datetime, life: Life | None) -> str | None:
    """Return why an entry does not belong to the row of its learner and block; ``None`` if it does."""
    if life is None:
        return NO_STATE
    if revision > life.revision:
        return f"the state's revision is {life.revision}"
    # A row is as old as its first entry.
    return "it is older than the state" if created < life.created else None


class Orphan(NamedTuple):
    """An entry that belongs to no state row."""

    student_id: Any
    block_id: int
    revision: int
    created: datetime
    why: str

    @property
    def owner(self) -> Owner:
        """Whose it was."""
        return Owner(self.student_id, self.block_id)

    @property
    def columns(self) -> dict[str, Any]:
        """What tells it from an entry of the same key that was written since."""
        return {name: getattr(self, name) for name in (*KEY, "created")}


class Page(NamedTuple):
    """What was found in a page of `entries`."""

    entries: int
    orphans: Sequence[Orphan]


@dataclass(frozen=True)
class Sweep:
    """One pass over one store, `model` in the database `alias`, `size` entries at a time."""

    database: str
    """The state's."""
    model: type[BaseStudentModuleHistory]
    alias: str
    size: int

    @property
    def store(self) -> str:
        """What people call the store."""
        return store_name(self.model)

    def pages(self, *, remove: bool) -> Iterator[Page]:
        """Yield what was found, and removed if it is to be, page by page.

        Raises `ServiceUnavailable` or an error of a database; what the pages before found is removed then.
        """
        after = None
        while page := self._entries(after):
            orphans = [orphan for some in pieces(self.database, page, PAGE) for orphan in self._orphans(some)]
            found = self._still_there(orphans)
            if remove:
                self._remove(found)
            yield Page(len(page), found)
            after = page[-1].pk

    def count(self) -> int:
        """Return how many entries there are to look at. Takes as long as reading the index of all of them."""
        with errors_translated(self.alias):
            return self.model._base_manager.using(self.alias).count()

    def _entries(self, after: Key | None) -> list[BaseStudentModuleHistory]:
        rows = following(self.model._base_manager.using(self.alias), after).only(*KEY, "created")
        with errors_translated(self.alias):
            return list(rows[: self.size])

    def _orphans(self, entries: Sequence[BaseStudentModuleHistory]) -> Iterator[Orphan]:
        owners = {owner_of(entry) for entry in entries}
        # In this order: a deletion commits the tombstone with the row's end.
        lives = self._lives(rows_of(owners))
        buried = self._buried(owners)
        for entry in entries:
            owner = owner_of(entry)
            why = why_orphan(entry.revision, entry.created, lives.get(owner))
            # The relay takes tombstones away, and what they bury.
            if why is not None and owner not in buried and entry.revision != TOMBSTONE:
                yield Orphan(*owner, entry.revision, entry.created, why)

    def _lives(self, which: Q) -> Mapping[Owner, Life]:
        rows = StudentModule._base_manager.using(self.database).filter(which)
        with errors_translated(self.database):
            found = list(rows.values_list("student_id", "block_id", "revision", "created"))
        return {
            Owner(student_id, block_id): Life(revision, created) for student_id, block_id, revision, created in found
        }

    def _buried(self, owners: Collection[Owner]) -> set[Owner]:
        """Return the owners whose extended history is gone. A tombstone buries nothing in the other stores."""
        if self.alias == self.database:
            return set()
        with errors_translated(self.database):
            return tombstoned_among(HistoryOutbox._base_manager.using(self.database), owners)

    def _still_there(self, orphans: Sequence[Orphan]) -> list[Orphan]:
        """Leave out those that went, since they were read, together with their row."""
        there: set[Key] = set()
        for some in pieces(self.alias, orphans, _ENTRIES):
            with errors_translated(self.alias):
                there.update(self.model._base_manager.using(self.alias).filter(_any_of(some)).values_list(*KEY))
        return [orphan for orphan in orphans if (*orphan.owner, orphan.revision) in there]

    def _remove(self, orphans: Sequence[Orphan]) -> None:
        for some in pieces(self.alias, orphans, _ENTRIES):
            with errors_translated(self.alias):
                repeat(self.alias, partial(self._attempt, some))

    def _attempt(self, orphans: Sequence[Orphan]) -> None:
        self.model._base_manager.using(self.alias).filter(_any_of(orphans))._raw_delete(self.alias)


def sweeps(database: str, size: int) -> Iterator[Sweep]:
    """Yield a pass for each store, in the order in which entries move: what moves on meanwhile is met again."""
    return (Sweep(database, model, alias, size) for model, alias in stores(database))


def _any_of(orphans: Sequence[Orphan]) -> Q:
    return reduce(or_, (Q(**orphan.columns) for orphan in orphans))
