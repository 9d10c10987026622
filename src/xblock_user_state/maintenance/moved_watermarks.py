"""Watermarks of one page of learners whose state moves from block to block.

The files of the archive name the old block for ever. So a state moves only if its whole history is in the tables, or
its early entries were dropped.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.db.models import Q

from xblock_user_state.history.entries import TOMBSTONE, all_rows, bury_archived
from xblock_user_state.history.models import HistoryWatermark
from xblock_user_state.history.watermarks import watermarks_of
from xblock_user_state.state.moves import Move

IS_ARCHIVED = "its early history is in the archive: bring it back with archive_history --restore"
AT_NEW = "the archive has, or had, history under the new key: run archive_history --erase, or restore it"


def learners_who_stay(database: str, move: Move, student_ids: Collection[Any]) -> dict[Any, str]:
    """Return the learners whose state can't move because of the archive, with the reasons. One statement."""
    which = Q(student_id__in=list(student_ids), block_id__in=[move.old.id, move.new.id])
    stay: dict[Any, str] = {}
    for (student_id, block_id), mark in watermarks_of(database, which).items():
        if block_id == move.new.id:
            stay[student_id] = AT_NEW
        elif mark.beginning > 1 and mark.last_archived:
            stay[student_id] = IS_ARCHIVED
    return stay


def move_watermarks(database: str, move: Move, student_ids: Collection[Any]) -> None:
    """Move the watermarks of dropped entries, and bury what the archive has under the old key. Two statements."""
    of_old = Q(student_id__in=list(student_ids), block_id=move.old.id)
    dropped = all_rows(HistoryWatermark, database).filter(of_old, first_kept__gt=TOMBSTONE, last_archived=0)
    dropped.update(block_id=move.new.id)
    bury_archived(database, of_old)
