"""Moves the history entries of one page of learners from block to block, within the transaction that moves the rows.

The default history and the outbox are in the state's database: an UPDATE changes the block of their entries. Entries of
the extended history move through the outbox: they are read under the old key, added to the outbox under the new key,
and a tombstone is left for the old key. Shipping does the rest, as it does for all entries. So no transaction spans two
databases, and at no moment is an entry lost or there twice (docs/decisions/0020).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connections, transaction
from django.db.models import Q

from xblock_user_state import conf
from xblock_user_state.history.entries import (
    COLUMNS,
    KEY,
    TOMBSTONE,
    Key,
    Owner,
    all_rows,
    extended_model,
    following,
    leave_tombstones,
    lockable,
    tombstoned_in,
)
from xblock_user_state.history.models import BaseStudentModuleHistory, HistoryOutbox, StudentModuleHistory
from xblock_user_state.history.outbox import shipping
from xblock_user_state.maintenance.history_database import history_answers
from xblock_user_state.state.moves import Move
from xblock_user_state.store.dialects import dialect_of
from xblock_user_state.store.dialects.rows import Target

ENTRIES = 500
"""Entries of the extended history that are in memory together."""

_Learners = Collection[Any]


class Unsettled(Exception):
    """The outbox and the extended history have entries of one key, which may be copies, or of two lives of a row."""

    def __init__(self, student_ids: set[Any]) -> None:
        self.student_ids = student_ids


@dataclass(frozen=True)
class LockedHistory:
    """The history of some learners in the two blocks of a move. The caller has locked their rows in the old block."""

    database: str
    move: Move
    outbox: Sequence[HistoryOutbox]
    """Their rows in the outbox, without bodies."""
    settled: _Learners
    """Learners whose entries of one key are known to be copies."""

    @classmethod
    def of(cls, database: str, move: Move, student_ids: _Learners, settled: _Learners) -> LockedHistory:
        """Lock their rows in the outbox. Waits for the end of shipments that have locked such rows."""
        blocks = [move.old.id, move.new.id]
        rows = all_rows(HistoryOutbox, database).filter(student_id__in=student_ids, block_id__in=blocks)
        locked: list[HistoryOutbox] = []
        # In the order of the relay's locks.
        for which in lockable(rows) if student_ids else ():
            locked += rows.filter(which).order_by(*KEY).select_for_update().only(*KEY)
        return cls(database, move, locked, settled)

    def learners_at_new(self, student_ids: _Learners) -> set[Any]:
        """Return the learners with entries under the new key, such as those of a row that was deleted by SQL."""
        new = self.move.new.id
        found = {row.student_id for row in self.outbox if row.block_id == new and row.revision != TOMBSTONE}
        found |= _learners_of(StudentModuleHistory, self.database, new, student_ids)
        if conf.has_extended_history():
            with history_answers():
                found |= _learners_of(extended_model(), conf.history_database(), new, self._readable(new, student_ids))
        return found

    def move_entries(self, student_ids: _Learners) -> None:
        """Move all entries of these learners. Ships after the commit, unless only the relay ships.

        Raises `HistoryUnavailable`, `Unsettled`, or `LostRace` if another transaction was in the way.
        """
        old, new = self.move.old.id, self.move.new.id
        # Before the extended history is read: a back-fill that has locked entries here may be moving them there.
        all_rows(StudentModuleHistory, self.database).filter(block_id=old, student_id__in=student_ids).update(
            block_id=new
        )
        waiting = {
            (row.student_id, row.revision) for row in self.outbox if row.block_id == old and row.revision != TOMBSTONE
        }
        shipped = self._add_extended(student_ids, waiting) if conf.has_extended_history() else set()
        if waiting:
            entries = all_rows(HistoryOutbox, self.database).filter(block_id=old, student_id__in=student_ids)
            # An older tombstone of the old key stays: its deletion has not been shipped yet.
            entries.filter(revision__gt=TOMBSTONE).update(block_id=new)
        if shipped:
            leave_tombstones(self.database, [Owner(student_id, old) for student_id in shipped])
        if (shipped or waiting) and conf.has_extended_history() and conf.ships_at_once():
            self._ship_after_commit(student_ids)

    def _add_extended(self, student_ids: _Learners, waiting: Collection[tuple[Any, int]]) -> set[Any]:
        """Add the entries of the extended history to the outbox, under the new key; return their learners."""
        connection = connections[self.database]
        target = Target(connection, HistoryOutbox, COLUMNS, {})
        found = set()
        for rows in self._extended(self._readable(self.move.old.id, student_ids)):
            found |= {student_id for student_id, *_ in rows}
            # An entry that was shipped a moment before a crash is in both: the one in the outbox moves by itself. After
            # a restore from a backup the two may differ, and both must stay.
            both = {student_id for student_id, _, revision, *_ in rows if (student_id, revision) in waiting}
            if unsettled := both.difference(self.settled):
                raise Unsettled(unsettled)
            added = [
                (student_id, self.move.new.id, revision, *values)
                for student_id, _, revision, *values in rows
                if (student_id, revision) not in waiting
            ]
            dialect_of(connection).insert(target, added)
        return found

    def _readable(self, block_id: int, student_ids: _Learners) -> list[Any]:
        """Return the learners whose entries in the extended history are valid: no tombstone buries them."""
        buried = tombstoned_in(self.outbox)
        return [student_id for student_id in student_ids if Owner(student_id, block_id) not in buried]

    def _extended(self, student_ids: _Learners) -> Iterator[list[tuple[Any, ...]]]:
        """Yield the entries of the old block in the extended history, up to `ENTRIES` at a time."""
        rows = all_rows(extended_model(), conf.history_database())
        rows = rows.filter(block_id=self.move.old.id, student_id__in=student_ids)
        after: Key | None = None
        while True:
            with history_answers():
                window = list(following(rows, after).values_list(*COLUMNS)[:ENTRIES])
            yield window
            if len(window) < ENTRIES:
                return
            after = Key(*window[-1][: len(KEY)])

    def _ship_after_commit(self, student_ids: _Learners) -> None:
        which = Q(block_id__in=[self.move.old.id, self.move.new.id], student_id__in=list(student_ids))

        # Here and not in `shipping`, which may send such a statement only for this package and the relay (law 7).
        def ship_moved() -> None:
            while shipping.ship_at_once(self.database, which, len(student_ids)):
                pass

        transaction.on_commit(ship_moved, using=self.database, robust=True)


def _learners_of(model: type[BaseStudentModuleHistory], alias: str, block_id: int, student_ids: _Learners) -> set[Any]:
    rows = all_rows(model, alias).filter(block_id=block_id, student_id__in=student_ids)
    return set(rows.values_list("student_id", flat=True).distinct())
