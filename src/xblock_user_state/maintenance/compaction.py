"""Packs old history for `compact_history`: many entries of one learner and block into one row, while the site runs.

A pack takes the row of its newest entry, and the rows of the others are deleted, in one short transaction that has
locked them. So a statement of a reader sees the rows or the pack, a deletion that waits for the locks deletes the pack,
and a process that is killed leaves one of the two. A pack is read again before it replaces anything.

Only what is beyond doubt is packed: entries that can be read, without gaps. All others stay, and go on as they were. An
entry after a pack may build on the newest entry of the pack.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import chain, groupby
from typing import Any, NamedTuple

from django.db.models import Count, Q, QuerySet

from xblock_user_state.history import packs
from xblock_user_state.history.encoding import PACK
from xblock_user_state.history.entries import (
    Owner,
    all_rows,
    delete_rows,
    lasting_stores,
    take_write_lock,
    without_tombstones,
)
from xblock_user_state.history.models import BaseStudentModuleHistory
from xblock_user_state.history.packs import MOST_CHARACTERS, MOST_ENTRIES, Packed
from xblock_user_state.history.unpacking import are_in_order, as_packed
from xblock_user_state.interface import DamagedHistory
from xblock_user_state.maintenance.decoding import decoded
from xblock_user_state.maintenance.numbers import Numbers, Step
from xblock_user_state.maintenance.paging import count_rows, filled_pages, rows_of
from xblock_user_state.store.transactions import LostRace, errors_translated, repeat

Store = type[BaseStudentModuleHistory]


@dataclass
class Compacted(Numbers):
    """Numbers of a page or of a pass: ``packs`` that were made, and the bytes of the bodies ``before`` and ``after``.

    ``left`` counts old entries that stay as they are: damaged ones, and those that stand alone between two gaps.
    """

    packs: int = 0
    before: int = 0
    after: int = 0


class _Part(NamedTuple):
    """The entries of a row: one, or those of a pack."""

    row: BaseStudentModuleHistory
    entries: Sequence[Packed]


@dataclass(frozen=True)
class Compaction:
    """One pass over the history of the rows in the state's `database`: all, of one learner, or of some blocks (sorted).

    Packs entries that were created before `older_than`, in the default history and in the extended history.
    """

    database: str
    older_than: datetime
    student_id: Any = None
    block_ids: Sequence[int] | None = None

    def steps(self, after: Owner | None = None) -> Iterator[Step[Compacted]]:
        """Pack page after page, from the row that follows `after`; yield after each block and after each page.

        Raises `ServiceUnavailable` or a database error. The blocks before stay packed.
        """
        for owners in filled_pages(self.database, self.student_id, self.block_ids, after):
            for model, alias in lasting_stores(self.database):
                for owner in self._candidates(model, alias, owners):
                    yield Step(self._compact(model, alias, owner))
            yield Step(Compacted(rows=len(owners)), owners[-1])

    def count(self) -> int:
        """Return the number of state rows of the pass. One statement, which reads a whole index."""
        return count_rows(self.database, self.student_id, self.block_ids)

    def _candidates(self, model: Store, alias: str, owners: Sequence[Owner]) -> list[Owner]:
        """Return the owners with several old rows. One statement; it reads no bodies."""
        rows = all_rows(model, alias).filter(rows_of(owners), created__lt=self.older_than)
        counted = rows.values("student_id", "block_id").annotate(rows=Count("revision")).filter(rows__gt=1)
        with errors_translated(alias):
            found = counted.order_by("student_id", "block_id").values_list("student_id", "block_id")
            return [Owner(*owner) for owner in found]

    def _compact(self, model: Store, alias: str, owner: Owner) -> Compacted:
        with errors_translated(alias):
            return repeat(alias, partial(self._attempt, model, alias, owner))

    def _attempt(self, model: Store, alias: str, owner: Owner) -> Compacted:
        of_owner = Q(student_id=owner.student_id, block_id=owner.block_id)
        take_write_lock(alias, model, of_owner)
        rows = without_tombstones(all_rows(model, alias).filter(of_owner))
        locked = list(rows.order_by("revision").select_for_update())
        done = Compacted()
        for parts in self._runs(locked, done):
            if len(parts) > 1:
                _replace(rows, parts, done)
        return done

    def _runs(self, rows: Sequence[BaseStudentModuleHistory], done: Compacted) -> Iterator[list[_Part]]:
        """Yield runs of old rows that belong into one pack; count the old entries that belong into none."""
        run: list[_Part] = []
        for part, is_readable in _parts(self.database, rows):
            is_old = all(entry.created < self.older_than for entry in part.entries)
            if run and not (is_old and is_readable and _fits(run, part)):
                yield run
                run = []
            if is_old and is_readable:
                run.append(part)
            elif is_old:
                done.left += len(part.entries)
        if run:
            yield run


def _parts(database: str, rows: Sequence[BaseStudentModuleHistory]) -> Iterator[tuple[_Part, bool]]:
    """Yield the decoded entries of each row, and whether all can be read; none if two lives have the same revisions."""
    if not are_in_order(rows):
        return
    by_revision = {row.revision: row for row in rows}
    for revision, group in groupby(decoded(database, rows), key=lambda found: found[0].pack or found[0].revision):
        entries: list[Packed] = []
        is_readable = True
        for entry, text in group:
            is_readable &= not isinstance(text, DamagedHistory)
            entries.append(as_packed(entry, None if isinstance(text, DamagedHistory) else text))
        yield _Part(by_revision[revision], entries), is_readable


def _fits(run: Sequence[_Part], part: _Part) -> bool:
    """Tell whether one pack may have the entries of a part after those of a run. A pack is never divided."""
    entries = [*chain.from_iterable(each.entries for each in run), *part.entries]
    is_next = part.entries[0].revision == run[-1].row.revision + 1
    size = sum(len(entry.text or "") for entry in entries)
    return is_next and len(entries) <= MOST_ENTRIES and size <= MOST_CHARACTERS


def _replace(rows: QuerySet[Any], parts: Sequence[_Part], done: Compacted) -> None:
    """Replace rows by a pack that is proved to have their entries."""
    entries = list(chain.from_iterable(part.entries for part in parts))
    body = packs.pack(entries)
    if body is None:
        done.left += len(entries)
        return
    first, newest = entries[0].revision, entries[-1].revision
    # The row of the newest entry, so that a deletion that waits for its lock deletes the pack.
    if rows.filter(revision=newest).update(encoding=PACK, body=body) != 1:
        raise LostRace
    delete_rows(rows.filter(revision__gte=first, revision__lt=newest))
    done.packs += 1
    done.entries += len(entries)
    done.before += sum(len(part.row.body or b"") for part in parts)
    done.after += len(body)
