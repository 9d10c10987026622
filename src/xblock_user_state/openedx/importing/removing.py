"""Removes states whose old rows were deleted since their import, such as those of a reset learner."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from django.db import transaction
from django.db.models import Q

from xblock_user_state import conf
from xblock_user_state.history.entries import (
    Owner,
    all_rows,
    delete_local_entries,
    delete_rows,
    leave_tombstones,
    take_write_lock,
)
from xblock_user_state.openedx.importing.models import ImportedModule
from xblock_user_state.openedx.importing.storing import IMPORTED_COLUMNS, Left, is_as_left
from xblock_user_state.openedx.old.reasons import Line, Reason
from xblock_user_state.openedx.old.tables import MODULES
from xblock_user_state.store.models import StudentModule


@dataclass(frozen=True)
class Removal:
    """Removes imported states of learners from the state's `database`, if nothing has changed them since."""

    database: str
    dry_run: bool = False
    source_wins: bool = False

    def take(self, learners: Sequence[int], present: Collection[int]) -> list[Line]:
        """Remove the states of these learners all of whose old ids are not `present`; return lines of the report."""
        imported: dict[Owner, dict[int, Left]] = defaultdict(dict)
        rows = all_rows(ImportedModule, self.database).filter(student_id__in=list(learners))
        for id_, student_id, block_id, *left in rows.values_list(*IMPORTED_COLUMNS):
            imported[Owner(student_id, block_id)][id_] = Left(*left)
        lines: list[Line] = []
        for owner, ids in sorted(imported.items()):
            if not any(id_ in present for id_ in ids):
                reason = self._remove(owner, ids.values())
                lines += [
                    Line(MODULES, id_, reason, f"learner {owner.student_id}, block {owner.block_id}") for id_ in ids
                ]
        return lines

    def _remove(self, owner: Owner, left: Collection[Left]) -> Reason:
        which = Q(student_id=owner.student_id, block_id=owner.block_id)
        with transaction.atomic(using=self.database):
            if not self.dry_run:
                take_write_lock(self.database)
            rows = all_rows(StudentModule, self.database).filter(which)
            locked = rows if self.dry_run else rows.select_for_update()
            for revision, text, grade, max_grade in locked.values_list("revision", "state", "grade", "max_grade"):
                if not self.source_wins and not is_as_left(revision, (text, grade, max_grade), left):
                    return Reason.OURS_CHANGED
            if not self.dry_run:
                delete_local_entries(self.database, which)
                if conf.has_extended_history():
                    leave_tombstones(self.database, [owner])
                delete_rows(rows)
                delete_rows(all_rows(ImportedModule, self.database).filter(which))
        return Reason.GONE
