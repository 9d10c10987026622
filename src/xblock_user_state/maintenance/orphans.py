"""Finds and removes orphans for `sweep_history`: history entries without a state row.

The ORM deletes history with its row. SQL deletes rows alone, and leaves orphans behind: readers would show them to a
learner who starts again. Entries of an owner with a row are never orphans, whatever their times and revisions: a state
that was restored, or deleted and begun again, goes on after the newest of them.

The job reads entries before rows, and an entry is committed together with its row. It removes entries while it holds a
claim on their row, under which nobody can begin it: a new row would go on after these entries.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from django.db import connections
from django.db.utils import Error

from xblock_user_state.history.entries import (
    KEY,
    KEYS_IN_A_STATEMENT,
    TOMBSTONE,
    Key,
    Owner,
    all_rows,
    delete_of_keys,
    delete_rows,
    following,
    of_keys,
    store_name,
    stores,
    take_write_lock,
    tombstoned_among,
)
from xblock_user_state.history.models import BaseStudentModuleHistory, HistoryOutbox
from xblock_user_state.history.outbox.answers import BATCH_SECONDS, FILE_SECONDS
from xblock_user_state.history.outbox.deadline import answer_expected
from xblock_user_state.history.outbox.reaching import await_file, reach_history
from xblock_user_state.maintenance.paging import PAGE, rows_of
from xblock_user_state.maintenance.shares import ALL_LEARNERS, Share
from xblock_user_state.store.dialects import Failure, dialect_of
from xblock_user_state.store.models import StudentModule
from xblock_user_state.store.statements import pieces
from xblock_user_state.store.transactions import LostRace, errors_translated, repeat

_NO_REVISION = 0
"""The revision of a claim: a state row that is never committed."""


class SweptPage(NamedTuple):
    """The number of entries in a page, the orphans among them, and the last entry."""

    entries: int
    orphans: Sequence[Key]
    last: Key


@dataclass(frozen=True)
class Sweep:
    """One pass over one store, `model` in the database `alias`, `size` entries at a time."""

    database: str
    """The alias of the state's database."""
    model: type[BaseStudentModuleHistory]
    alias: str
    size: int
    share: Share = ALL_LEARNERS
    """The learners whose entries are checked."""
    primary: Sweep | None = None
    """The pass over the primary, if this one reads a replica. It judges the orphans that are found here."""

    @property
    def store(self) -> str:
        """The name of the store, for messages."""
        return store_name(self.model)

    def pages(self, *, remove: bool, after: Key | None = None) -> Iterator[SweptPage]:
        """Yield the orphans of each page, from the entry that follows `after`; with `remove` they have been deleted.

        Raises `HistoryUnavailable`, `ServiceUnavailable` or a database error. Orphans of the pages before stay deleted.
        """
        while page := self._entries(after):
            found = list(self.orphans_among(page))
            if found and self.primary:
                # A row may be younger than the replica, and its entry in the history database already.
                found = list(self.primary.orphans_among(found))
            yield SweptPage(len(page), (self.primary or self).confirmed(found, remove=remove), page[-1])
            after = page[-1]

    def confirmed(self, found: Sequence[Key], *, remove: bool) -> list[Key]:
        """Return the entries that are orphans still; with `remove` they have been deleted."""
        with errors_translated(self.alias):
            return self._remove(found) if remove else self._remaining(found)

    def described(self, orphans: Sequence[Key]) -> Iterator[tuple[Owner, str]]:
        """Yield a line for each run of revisions, with its owner. `orphans` are in key order."""
        # The difference between revision and place is the same for neighbours.
        numbers = enumerate(orphans)
        for (owner, _), numbered in groupby(numbers, lambda each: (each[1].owner, each[1].revision - each[0])):
            revisions = [orphan.revision for _, orphan in numbered]
            first, last = revisions[0], revisions[-1]
            named = f"revision {first}" if first == last else f"revisions {first} to {last}"
            yield owner, f"{named} in the {self.store} {'belongs' if first == last else 'belong'} to no state"

    def count(self) -> int:
        """Return the number of entries to check. One statement, which reads a whole index."""
        with errors_translated(self.alias):
            return all_rows(self.model, self.alias).count()

    def _entries(self, after: Key | None) -> list[Key]:
        rows = following(all_rows(self.model, self.alias), after)
        with errors_translated(self.alias):
            return [Key(*row) for row in rows.values_list(*KEY)[: self.size]]

    def orphans_among(self, entries: Sequence[Key]) -> Iterator[Key]:
        """Yield the entries, which are in key order, whose owner has no row."""
        owners = [Owner(*owner) for owner, _ in groupby(entries, itemgetter(0, 1)) if self.share.has(owner[0])]
        # Rows before tombstones: a deletion commits its tombstone together with the end of the row.
        without = set(owners).difference(*map(self._with_row, pieces(self.database, owners, PAGE)))
        if without:
            without -= self._buried(without)
            # The relay deletes tombstones, and the entries that they bury.
            yield from (entry for entry in entries if entry.owner in without and entry.revision != TOMBSTONE)

    def _with_row(self, owners: Collection[Owner]) -> set[Owner]:
        rows = all_rows(StudentModule, self.database).filter(rows_of(owners))
        with errors_translated(self.database):
            return {Owner(*row) for row in rows.values_list("student_id", "block_id")}

    def _buried(self, owners: Collection[Owner]) -> set[Owner]:
        """Return the owners whose entries in this store are buried: only entries of the extended history can be."""
        if self.alias == self.database:
            return set()
        with errors_translated(self.database):
            return tombstoned_among(all_rows(HistoryOutbox, self.database), owners)

    def _remaining(self, orphans: Sequence[Key]) -> list[Key]:
        """Leave out the orphans that were deleted together with their row after they had been read."""
        remaining: set[Key] = set()
        for some in pieces(self.alias, orphans, KEYS_IN_A_STATEMENT):
            rows = of_keys(all_rows(self.model, self.alias), some)
            remaining.update(Key(*row) for row in rows.values_list(*KEY))
        return [orphan for orphan in orphans if orphan in remaining]

    def _remove(self, orphans: Sequence[Key]) -> list[Key]:
        """Remove the orphans that are still there and without a row; return them."""
        removed: list[Key] = []
        for some in pieces(self.database, orphans, PAGE):
            if self.alias != self.database:
                # Before any row is claimed: a server that does not answer takes the whole timeout.
                reach_history(BATCH_SECONDS)
                await_file(BATCH_SECONDS)
            with errors_translated(self.database):
                removed += repeat(self.database, partial(self._attempt, some))
        return removed

    def _attempt(self, orphans: Sequence[Key]) -> list[Key]:
        take_write_lock(self.database)
        claimed = _claim(self.database, {orphan.owner for orphan in orphans})
        if not claimed:
            return []
        with errors_translated(self.alias), self._conflicts_repeated(), self._answer_expected():
            found = self._remaining([orphan for orphan in orphans if orphan.owner in claimed])
            if found:
                # One DELETE without signals: no other table refers to history entries.
                delete_of_keys(all_rows(self.model, self.alias), found)
        delete_rows(all_rows(StudentModule, self.database).filter(rows_of(claimed), revision=_NO_REVISION))
        return found

    @contextmanager
    def _conflicts_repeated(self) -> Iterator[None]:
        """Repeat the transaction of the state's database after a deadlock in either database."""
        try:
            yield
        except Error as error:
            if dialect_of(connections[self.alias]).failure(error) is Failure.CONFLICT:
                raise LostRace from error
            raise

    def _answer_expected(self) -> AbstractContextManager[None]:
        """Bound the wait for the history database: rows of the state's database are claimed meanwhile."""
        if self.alias == self.database:
            return nullcontext()
        return answer_expected(self.alias, BATCH_SECONDS, FILE_SECONDS)


def _claim(database: str, owners: Collection[Owner]) -> set[Owner]:
    """Insert a state row for each owner without one, and return these owners. The caller deletes these rows.

    Who begins a row of an owner meanwhile waits for the end of the transaction.
    """
    now = datetime.now(UTC)
    claims = [
        StudentModule(student_id=student_id, block_id=block_id, revision=_NO_REVISION, created=now, modified=now)
        for student_id, block_id in sorted(owners)
    ]
    rows = all_rows(StudentModule, database)
    rows.bulk_create(claims, ignore_conflicts=True)
    claimed = rows.filter(rows_of(owners), revision=_NO_REVISION)
    return {Owner(*row) for row in claimed.values_list("student_id", "block_id")}


def sweeps(database: str, size: int, share: Share = ALL_LEARNERS, replica: str | None = None) -> Iterator[Sweep]:
    """Yield a sweep for each store, in the order in which entries move: a later sweep meets moved entries.

    With a `replica` of the state's database they read there.
    """
    for model, alias in stores(database):
        sweep = Sweep(database, model, alias, size, share)
        if replica is None:
            yield sweep
        else:
            yield replace(sweep, database=replica, alias=replica if alias == database else alias, primary=sweep)
