"""The call of all writes: changes of one learner's rows, which are committed together."""

from __future__ import annotations

from typing import Any, Self

from msgspec import UNSET, Raw, Struct, field
from xblock.fields import Scope

from xblock_user_state.interface import Learner
from xblock_user_state.state import codec
from xblock_user_state.state.change import Change, Changes, Overlay, Removal, Row
from xblock_user_state.state.keys import RowKey
from xblock_user_state.wire.addresses import Address
from xblock_user_state.wire.calls import Call, Rows
from xblock_user_state.wire.values import Json, PackedLearner, pack_json, pack_learner, pack_names


class SetFields(Struct, frozen=True, tag_field="edit", tag="set", forbid_unknown_fields=True):
    """Overlays fields."""

    state: Raw


class DeleteFields(Struct, frozen=True, tag_field="edit", tag="delete", forbid_unknown_fields=True):
    """Removes the named fields, or all for null."""

    fields: Json = UNSET


class ReplaceState(Struct, frozen=True, tag_field="edit", tag="replace", forbid_unknown_fields=True):
    """Makes the state exactly this one; null for a row without a state."""

    state: Raw


PackedEdit = SetFields | DeleteFields | ReplaceState


class Points(Struct, frozen=True, forbid_unknown_fields=True):
    """A new score: null for both removes it."""

    grade: float | None
    max_grade: float | None


class RowChange(Address, frozen=True, kw_only=True):
    """The change of one row: edits of its state in order, a score, and the revision that it must have."""

    edits: list[PackedEdit] = field(default_factory=list)
    score: Points | None = None
    if_revision: int | None = None

    @classmethod
    def of_change(cls, scope: Scope, row: RowKey, change: Change) -> Self:
        """Return the message of a change."""
        return cls.of(
            scope,
            row,
            edits=[_pack_edit(edit) for edit in change.edits],
            score=Points(*change.score) if change.score else None,
            if_revision=change.condition.revision if change.condition else None,
        )


def _pack_edit(edit: Any) -> PackedEdit:
    if isinstance(edit, Overlay):
        return SetFields(pack_json(codec.join(edit.fields)))
    if isinstance(edit, Removal):
        # Sorted, so that a repeated call has the same bytes.
        return DeleteFields(pack_names(None if edit.fields is None else sorted(edit.fields)))
    return ReplaceState(pack_json(edit.text))


class Write(Call, frozen=True, kw_only=True):
    """All writes: `set_many`, `delete_many`, `set_score`, `replace` and `batch`. Commits all changes, or none.

    The answer has the rows after the write, without their states.
    """

    path = "write"
    answer = Rows

    learner: PackedLearner = None
    changes: list[RowChange]
    only_new: bool = False

    @classmethod
    def of(cls, learner: Learner, changes: Changes) -> Self:
        """Return the call that commits these changes."""
        flat = [(scope, row, change) for scope, by_row in changes.items() for row, change in by_row.items()]
        return cls(
            learner=pack_learner(learner),
            changes=[RowChange.of_change(*each) for each in flat],
            only_new=any(change.only_new for _, _, change in flat),
        )

    def written(self, answer: Rows) -> dict[Scope, dict[RowKey, Row]]:
        """Return the rows after the write, by scope and key: those that exist."""
        found: dict[Scope, dict[RowKey, Row]] = {}
        for change, stored in zip(self.changes, answer.rows, strict=True):
            scope, key = change.row_key()
            rows = found.setdefault(scope, {})
            if stored is not None:
                rows[key] = stored.row()
        return found
