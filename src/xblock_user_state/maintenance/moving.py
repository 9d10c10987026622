"""Moves the state of all learners from one block to another, in pages, for `actions`.

A page is one transaction in the state's database. It locks the rows of up to 100 learners in the old block, and changes
the block of these rows and of their history (`moved_history`); all other columns stay. A write of one of these learners
is committed before and moves along, or waits and begins the old block anew. An interrupted move leaves whole rows, each
with its history under one of the two keys. The next call moves the rest.

The job starts from state rows. Entries without a row (orphans) stay for the sweep: no index of the history finds the
entries of a block.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from django.db.models import QuerySet

from xblock_user_state import conf
from xblock_user_state.history.entries import Owner, all_rows, take_write_lock
from xblock_user_state.history.outbox import collisions
from xblock_user_state.history.outbox.answers import BATCH_SECONDS, HistoryUnavailable
from xblock_user_state.interface import ServiceUnavailable
from xblock_user_state.maintenance.history_database import reach
from xblock_user_state.maintenance.moved_history import LockedHistory, Unsettled
from xblock_user_state.maintenance.moved_watermarks import learners_who_stay, move_watermarks
from xblock_user_state.maintenance.paging import lock_learners
from xblock_user_state.state.keys import BlockId
from xblock_user_state.state.moves import Move
from xblock_user_state.store.blocks import register, registered
from xblock_user_state.store.models import StudentModule, UserStateSummary
from xblock_user_state.store.statements import pieces
from xblock_user_state.store.transactions import errors_translated, repeat

PAGE = 100
"""Learners of a page. Their writers wait until it is committed."""

HAS_STATE = "there is a state under the new key"
HAS_HISTORY = "there is history under the new key"


class MovedPage(NamedTuple):
    """Numbers of rows that moved, and the reasons why other rows stayed, by learner; ``None`` is the shared state."""

    move: Move
    states: int = 0
    shared: int = 0
    skipped: Mapping[Any, str] = {}


def move_blocks(
    database: str, moves: Sequence[Move], student_id: Any = None, *, dry_run: bool = False
) -> Iterator[MovedPage]:
    """Move the states of all learners, or of one, from block to block. Yields after each committed page.

    State that all learners share moves too, unless a learner is named. A row stays if the learner has a row or history
    under the new key. With `dry_run` all rows stay, and the pages say what would move.

    Raises `BlockKeyCollision` with nothing moved. Raises `ServiceUnavailable` or a database error for a page that
    failed, also if the history database can't be reached; the pages before stay moved.
    """
    with errors_translated(database):
        known = registered(database, {block for move in moves for block in move})
        shared = _shared_among(database, [move.old.id for move in moves]) if student_id is None else set()
    for move in moves:
        has_rows = _has_rows(database, move.old, student_id)
        # An operator may name a course of which most blocks keep no state; these are not registered anew.
        if (has_rows or move.old.id in shared) and move.new not in known and not dry_run:
            with errors_translated(database):
                register(database, [move.new])
        if has_rows:
            yield from _Pages(database, move, student_id, dry_run).all()
        if move.old.id in shared:
            yield _move_shared(database, move, dry_run)


def _shared_among(database: str, block_ids: Sequence[int]) -> set[int]:
    rows = all_rows(UserStateSummary, database)
    return {
        block_id
        for some in pieces(database, block_ids)
        for block_id in rows.filter(block_id__in=some).values_list("block_id", flat=True)
    }


def _has_rows(database: str, block: BlockId, student_id: Any) -> bool:
    rows = all_rows(StudentModule, database).filter(block_id=block.id)
    with errors_translated(database):
        return (rows if student_id is None else rows.filter(student_id=student_id)).exists()


def _move_shared(database: str, move: Move, dry_run: bool) -> MovedPage:
    def attempt() -> MovedPage:
        take_write_lock(database)
        rows = all_rows(UserStateSummary, database)
        # In the order in which writers lock rows of several blocks.
        both = rows.filter(block_id__in=[move.old.id, move.new.id]).order_by("block_id").select_for_update()
        found = set(both.values_list("block_id", flat=True))
        if move.old.id in found and move.new.id in found:
            return MovedPage(move, skipped={None: HAS_STATE})
        if dry_run:
            return MovedPage(move, shared=int(move.old.id in found))
        return MovedPage(move, shared=rows.filter(block_id=move.old.id).update(block_id=move.new.id))

    with errors_translated(database):
        return repeat(database, attempt)


@dataclass(frozen=True)
class _Pages:
    """The pages of one block, of all learners or of one."""

    database: str
    move: Move
    student_id: Any
    dry_run: bool

    def all(self) -> Iterator[MovedPage]:
        """Move page by page; yield after each commit."""
        after: Any = None
        while True:
            locked, skipped = self._page(after)
            yield MovedPage(self.move, states=len(locked) - len(skipped), skipped=skipped)
            # Asking for more than the last page would let the job chase the writers for ever.
            if len(locked) < PAGE:
                return
            after = locked[-1]

    def _page(self, after: Any) -> tuple[Sequence[Any], Mapping[Any, str]]:
        """Move one page; return the learners of its rows, and the reasons why some of these rows stayed."""
        try:
            if conf.has_extended_history():
                reach()
            with errors_translated(self.database):
                return self._settled_page(after)
        except (HistoryUnavailable, collisions.ExtendedUnread) as error:
            raise ServiceUnavailable(f"nothing more was moved: the history can't be read: {error}") from error

    def _settled_page(self, after: Any) -> tuple[Sequence[Any], Mapping[Any, str]]:
        settled: set[Any] = set()
        while True:
            try:
                return repeat(self.database, partial(self._attempt, after, settled))
            except Unsettled as error:
                # The relay would do the same, but a move brings both entries to one new key.
                for student_id in error.student_ids:
                    collisions.settle(self.database, Owner(student_id, self.move.old.id), BATCH_SECONDS)
                settled |= error.student_ids

    def _attempt(self, after: Any, settled: Collection[Any]) -> tuple[Sequence[Any], Mapping[Any, str]]:
        take_write_lock(self.database)
        locked = lock_learners(self.database, self.move.old.id, PAGE, after, self.student_id)
        # Not locked: a row that is begun meanwhile fails the update below, and the page is repeated.
        at_new = self._rows(self.move.new, locked).values_list("student_id", flat=True)
        skipped = dict.fromkeys(at_new, HAS_STATE)
        skipped = {**learners_who_stay(self.database, self.move, locked), **skipped}
        rest = [student_id for student_id in locked if student_id not in skipped]
        history = LockedHistory.of(self.database, self.move, rest, settled)
        skipped |= dict.fromkeys(history.learners_at_new(rest), HAS_HISTORY)
        moving = [student_id for student_id in rest if student_id not in skipped]
        if moving and not self.dry_run:
            # Rows before history, as writers do: a writer who begins the new block waits for this row.
            self._rows(self.move.old, moving).update(block_id=self.move.new.id)
            history.move_entries(moving)
            move_watermarks(self.database, self.move, moving)
        return locked, skipped

    def _rows(self, block: BlockId, student_ids: Sequence[Any]) -> QuerySet[StudentModule]:
        return all_rows(StudentModule, self.database).filter(block_id=block.id, student_id__in=student_ids)
