"""Copies history entries decoded, page by page, and keeps the copy up to date.

The newest revision of a row's copies says which entries are missing, so a run that was interrupted is just run again,
and a later run copies what is new. No index holds the times of the history: a run reads the keys and revisions of all
state rows, or of those of some blocks, and the entries of the rows that are behind.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import takewhile
from typing import Any, NamedTuple

from django.db import transaction
from django.db.models import Max, Q

from xblock_user_state.history.entries import Owner, all_rows, delete_rows, entries_deleted, owner_of
from xblock_user_state.history.models import BaseStudentModuleHistory
from xblock_user_state.history.reading import BlockHistory, entries_of
from xblock_user_state.maintenance.paging import PAGE, owner_pages, owners_with_history, rows_of
from xblock_user_state.openedx.decoded.models import DecodedHistory
from xblock_user_state.store.models import StudentModule

UID = "xblock_user_state.openedx.decoded"
"""The name of the receiver."""

_COPIES = 5000


class Page(NamedTuple):
    """The numbers of a page: state rows that were looked at, and entries that were copied."""

    rows: int
    entries: int


class _Row(NamedTuple):
    revision: int
    modified: datetime


@dataclass
class Copying:
    """A run over the state rows of all learners, or over those in some blocks, in the state's `database`."""

    database: str
    block_ids: Sequence[int] | None = None
    since: datetime | None = None
    until: datetime | None = None
    """Copy only entries of this range of time; `until` does not belong to it."""
    damaged: dict[Owner, list[int]] = field(default_factory=dict)
    """Revisions that can't be read, and have no copy."""

    def pages(self) -> Iterator[Page]:
        """Copy page by page, each in a transaction. Raises `UserStateError` or a database error."""
        for owners in owner_pages(self.database, block_ids=self.block_ids):
            yield Page(len(owners), self.copy(owners))

    def copy_all(self, owners: Collection[Owner]) -> int:
        """Copy the missing entries of any number of rows; return their number."""
        ordered = sorted(owners)
        return sum(self.copy(ordered[start : start + PAGE]) for start in range(0, len(ordered), PAGE))

    def copy(self, owners: Collection[Owner]) -> int:
        """Copy the missing entries of up to 200 rows; return their number.

        Some statements, and one for each learner and store; one for each row and store where a part was copied before.
        """
        if not owners:
            return 0
        which = rows_of(owners)
        rows = self._rows(which)
        with transaction.atomic(using=self.database):
            copied = self._copied(which)
            # The row was deleted past the ORM, and began again.
            again = [owner for owner in rows if copied.get(owner, 0) > rows[owner].revision]
            if again:
                delete_rows(all_rows(DecodedHistory, self.database).filter(rows_of(again)))
            copied = {owner: copied[owner] for owner in copied.keys() - set(again)}
            behind = [owner for owner, row in rows.items() if self._is_behind(row, copied.get(owner, 0))]
            recorded = owners_with_history(self.database, behind)
            entries = self._missing({owner: copied.get(owner, 0) for owner in behind if owner in recorded})
            copies = [each for entry in entries if (each := self._copy_of(entry)) is not None]
            # Another run, or the relay, may copy the same entries.
            all_rows(DecodedHistory, self.database).bulk_create(copies, batch_size=500, ignore_conflicts=True)
        return len(copies)

    def remove_gone(self) -> Iterator[int]:
        """Delete the copies of rows that are gone, page by page; yield how many were looked at."""
        copies, after = all_rows(DecodedHistory, self.database), 0
        last = copies.aggregate(last=Max("id"))["last"] or 0
        while after < last:
            # Copies of a row that begins again meanwhile have higher ids.
            page = copies.filter(id__gt=after, id__lte=min(after + _COPIES, last))
            # Two statements: Citus deletes no local rows by a condition on distributed ones.
            owners = sorted(Owner(*key) for key in page.values_list("student_id", "block_id").distinct())
            for start in range(0, len(owners), PAGE):
                some = owners[start : start + PAGE]
                if gone := set(some) - self._rows(rows_of(some)).keys():
                    delete_rows(page.filter(rows_of(gone)))
            after += _COPIES
            yield _COPIES

    def _rows(self, which: Q) -> dict[Owner, _Row]:
        found = all_rows(StudentModule, self.database).filter(which)
        columns = ("student_id", "block_id", "revision", "modified")
        return {Owner(*key): _Row(revision, at) for *key, revision, at in found.values_list(*columns)}

    def _copied(self, which: Q) -> Mapping[Owner, int]:
        found = all_rows(DecodedHistory, self.database).filter(which).values_list("student_id", "block_id")
        return {Owner(*key): newest for *key, newest in found.annotate(newest=Max("revision"))}

    def _is_behind(self, row: _Row, copied: int) -> bool:
        # No entry is newer than its row.
        return row.revision > copied and (self.since is None or row.modified >= self.since)

    def _missing(self, behind: Mapping[Owner, int]) -> Iterator[BaseStudentModuleHistory]:
        # Whole histories take one statement a learner and store, parts of them one a row.
        yield from entries_of(owner for owner, copied in behind.items() if not copied)
        for owner, copied in behind.items():
            if copied:
                yield from _newer(BlockHistory(self.database, *owner).newest_first(), copied)

    def _copy_of(self, entry: BaseStudentModuleHistory) -> DecodedHistory | None:
        if (self.since and entry.created < self.since) or (self.until and entry.created >= self.until):
            return None
        if entry.damage is not None:
            self.damaged.setdefault(owner_of(entry), []).append(entry.revision)
            return None
        columns = ("student_id", "block_id", "revision", "version", "created", "state", "grade", "max_grade")
        return DecodedHistory(**{name: getattr(entry, name) for name in columns})


def _newer(entries: Iterable[BaseStudentModuleHistory], revision: int) -> Iterator[BaseStudentModuleHistory]:
    return takewhile(lambda entry: entry.revision > revision, entries)


def connect() -> None:
    """Delete copies together with the entries that they were made of."""
    entries_deleted.connect(_delete_copies, dispatch_uid=UID)


def _delete_copies(database: str, which: Q, **_: Any) -> None:
    delete_rows(all_rows(DecodedHistory, database).filter(which))
