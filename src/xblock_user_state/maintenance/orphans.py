"""Finds and removes orphans for `sweep_history`: history entries that belong to no state row.

The ORM deletes history with its row. SQL and restored backups delete rows alone, and leave orphans behind: readers
would show them to a learner who starts again, and they block new entries of the same key.

The job locks nothing. It reads entries before rows, and an entry is committed together with its row. So an entry is of
an earlier life of the row if the row read later is missing, has a lower revision, or was created later. An orphan is
deleted by its key and its time; a new entry with the same key stays. The orphans of a life are its newest entries or
all of them, so no entry that stays builds on a deleted one.
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
    all_rows,
    delete_rows,
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

# Entries selected by four columns in one statement: SQLite's parser takes up to 1,000 conditions.
_ENTRIES_IN_A_STATEMENT = 100


class Life(NamedTuple):
    """A state row's newest revision and its creation, which tell its entries from orphans."""

    revision: int
    created: datetime


def why_orphan(revision: int, created: datetime, life: Life | None) -> str | None:
    """Return why an entry does not belong to the row of its learner and block; ``None`` if it does."""
    if life is None:
        return NO_STATE
    if revision > life.revision:
        return f"the state's revision is {life.revision}"
    # A row is created together with its first entry.
    return "it is older than the state" if created < life.created else None


class Orphan(NamedTuple):
    """An entry that belongs to no state row; `reason` says how that is known."""

    student_id: Any
    block_id: int
    revision: int
    created: datetime
    reason: str

    @property
    def owner(self) -> Owner:
        """The learner and block that the entry names."""
        return Owner(self.student_id, self.block_id)

    @property
    def columns(self) -> dict[str, Any]:
        """The columns to delete it by: a newer entry of the same key has another time."""
        return {name: getattr(self, name) for name in (*KEY, "created")}


class SweptPage(NamedTuple):
    """The number of entries in a page, and the orphans among them."""

    entries: int
    orphans: Sequence[Orphan]


@dataclass(frozen=True)
class Sweep:
    """One pass over one store, `model` in the database `alias`, `size` entries at a time."""

    database: str
    """The alias of the state's database."""
    model: type[BaseStudentModuleHistory]
    alias: str
    size: int

    @property
    def store(self) -> str:
        """The name of the store, for messages."""
        return store_name(self.model)

    def pages(self, *, remove: bool) -> Iterator[SweptPage]:
        """Yield the orphans of each page; with `remove` they have been deleted.

        Raises `ServiceUnavailable` or a database error. Orphans of the pages before stay deleted.
        """
        after: Key | None = None
        while page := self._entries(after):
            # A page of entries may have more owners than one statement takes.
            found = [orphan for some in pieces(self.database, page, PAGE) for orphan in self._orphans(some)]
            orphans = self._remaining(found)
            if remove:
                self._remove(orphans)
            yield SweptPage(len(page), orphans)
            after = Key(*page[-1].pk)

    def count(self) -> int:
        """Return the number of entries to check. One statement, which reads a whole index."""
        with errors_translated(self.alias):
            return all_rows(self.model, self.alias).count()

    def _entries(self, after: Key | None) -> list[BaseStudentModuleHistory]:
        # Without the bodies, which are most of an entry.
        rows = following(all_rows(self.model, self.alias), after).only(*KEY, "created")
        with errors_translated(self.alias):
            return list(rows[: self.size])

    def _orphans(self, entries: Sequence[BaseStudentModuleHistory]) -> Iterator[Orphan]:
        owners = {owner_of(entry) for entry in entries}
        # Rows before tombstones: a deletion commits its tombstone together with the end of the row.
        lives = self._lives(rows_of(owners))
        buried = self._buried(owners)
        for entry in entries:
            owner = owner_of(entry)
            reason = why_orphan(entry.revision, entry.created, lives.get(owner))
            # The relay deletes tombstones, and the entries that they bury.
            if reason is not None and owner not in buried and entry.revision != TOMBSTONE:
                yield Orphan(*owner, entry.revision, entry.created, reason)

    def _lives(self, which: Q) -> Mapping[Owner, Life]:
        rows = all_rows(StudentModule, self.database).filter(which)
        with errors_translated(self.database):
            found = list(rows.values_list("student_id", "block_id", "revision", "created"))
        return {
            Owner(student_id, block_id): Life(revision, created) for student_id, block_id, revision, created in found
        }

    def _buried(self, owners: Collection[Owner]) -> set[Owner]:
        """Return the owners whose entries in this store are buried: only entries of the extended history can be."""
        if self.alias == self.database:
            return set()
        with errors_translated(self.database):
            return tombstoned_among(all_rows(HistoryOutbox, self.database), owners)

    def _remaining(self, orphans: Sequence[Orphan]) -> list[Orphan]:
        """Leave out the orphans that were deleted together with their row after they had been read."""
        remaining: set[Key] = set()
        for some in pieces(self.alias, orphans, _ENTRIES_IN_A_STATEMENT):
            with errors_translated(self.alias):
                rows = all_rows(self.model, self.alias).filter(_any_of(some))
                remaining.update(Key(*row) for row in rows.values_list(*KEY))
        return [orphan for orphan in orphans if Key(*orphan.owner, orphan.revision) in remaining]

    def _remove(self, orphans: Sequence[Orphan]) -> None:
        for some in pieces(self.alias, orphans, _ENTRIES_IN_A_STATEMENT):
            with errors_translated(self.alias):
                repeat(self.alias, partial(self._attempt, some))

    def _attempt(self, orphans: Sequence[Orphan]) -> None:
        # One DELETE without signals: no other table refers to history entries.
        delete_rows(all_rows(self.model, self.alias).filter(_any_of(orphans)))


def sweeps(database: str, size: int) -> Iterator[Sweep]:
    """Yield a sweep for each store, in the order in which entries move: a later sweep meets moved entries."""
    return (Sweep(database, model, alias, size) for model, alias in stores(database))


def _any_of(orphans: Sequence[Orphan]) -> Q:
    return reduce(or_, (Q(**orphan.columns) for orphan in orphans))
