"""Undoes actions by their rows in the log."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Unpack
from uuid import UUID

from django.db.models import Q
from opaque_keys.edx.keys import UsageKey

from xblock_user_state.access import Action
from xblock_user_state.actions.changes import entry_of, restored
from xblock_user_state.actions.engine import Acted, Edit, Held, Skip, act_on, changed_since
from xblock_user_state.actions.models import LoggedAction
from xblock_user_state.actions.order import Options, Order
from xblock_user_state.interface import UserId
from xblock_user_state.state.keys import context_of, parse_block
from xblock_user_state.store.blocks import texts_of
from xblock_user_state.store.databases import state_database


def undo(action_id: UUID | str | Collection[UUID], *, actor: Any, reason: str, **options: Unpack[Options]) -> Acted:
    """Undo an action: bring back the state and score that each block had before, as a new revision.

    `action_id` is the id of a call, as its result has it, the id of a row of the log, or several ids of rows. Blocks
    that were changed since, that are undone already, or that have no history, are skipped. An undo can be undone.
    Raises ``ValueError`` if there is nothing to undo: acts that delete for good, move or export leave no revision to go
    back to.
    """
    order = Order("undo", actor, reason, **options)
    undoing = _Undoing.of(_rows(action_id))
    for student_id, rows in undoing.rows.items():
        for key in rows:
            order.ask(Action.ACT, UserId(student_id), context_of(key), key)
    return act_on(order, undoing, undoing)


def _rows(action_id: UUID | str | Collection[UUID]) -> list[LoggedAction]:
    ids = [UUID(action_id)] if isinstance(action_id, str) else [action_id] if isinstance(action_id, UUID) else action_id
    which = Q(id__in=ids) if len(ids) > 1 else Q(run__in=ids) | Q(id__in=ids)
    rows = LoggedAction.objects.using(state_database()).filter(which, revision_after__isnull=False)
    found = list(rows.order_by("student_id", "block_id"))
    if not found:
        raise ValueError(f"there is no action {', '.join(map(str, ids))} that can be undone")
    return found


@dataclass(frozen=True)
class _Undoing:
    """The rows of the log to undo, by learner and block: selection and act in one."""

    rows: Mapping[Any, Mapping[UsageKey, LoggedAction]] = field(default_factory=dict)

    @classmethod
    def of(cls, found: Sequence[LoggedAction]) -> _Undoing:
        texts = texts_of(state_database(), {row.block_id for row in found if row.block_id is not None})
        rows: dict[Any, dict[UsageKey, LoggedAction]] = defaultdict(dict)
        for row in found:
            # A row with revisions has a block.
            rows[row.student_id][parse_block(*texts[row.block_id or 0])] = row
        return cls(rows)

    @property
    def student_ids(self) -> Sequence[Any]:
        return list(self.rows)

    def blocks_of(self, student_id: Any) -> Sequence[UsageKey]:
        return list(self.rows[student_id])

    def edit(self, held: Held) -> Edit | Skip:
        row = self.rows[held.student_id][held.block_key]
        if row.undone_by is not None:
            return Skip("it is undone already")
        if held.revision != row.revision_after:
            return changed_since(held, row.revision_after or 0)
        if not row.revision_before:
            return Edit(None, (None, None))
        return restored(partial(entry_of, revision=row.revision_before), held)

    def logged(self, entries: Sequence[LoggedAction]) -> None:
        undone = {(row.student_id, row.block_id): row for rows in self.rows.values() for row in rows.values()}
        for entry in entries:
            row = undone[entry.student_id, entry.block_id]
            LoggedAction.objects.using(state_database()).filter(id=row.id).update(undone_by=entry.id)
