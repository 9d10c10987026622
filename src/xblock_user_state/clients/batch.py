"""The collected changes of a batch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from opaque_keys.edx.keys import UsageKey
from xblock.fields import Scope

from xblock_user_state.clients import arguments
from xblock_user_state.interface import BlockKey
from xblock_user_state.state.change import Change, Row
from xblock_user_state.state.keys import RowKey, row_key


class ChangeSet:
    """Changes by scope and row, one for each row. Arguments are checked at the call that gives them."""

    def __init__(self, *, only_new: bool = False, if_revisions: object = None) -> None:
        if only_new and if_revisions is not None:
            raise ValueError("only_new leaves all rows alone that exist: give it or if_revisions, not both")
        self.changes: dict[Scope, dict[RowKey, Change]] = {}
        self._only_new = only_new
        self._conditions = arguments.scoped_conditions(if_revisions)
        self._ended = False
        self.written: Mapping[Scope, Mapping[RowKey, Row]] = {}

    def completed(self) -> Mapping[Scope, Mapping[RowKey, Change]]:
        """Return all changes, with their conditions."""
        arguments.add_conditions(self.changes, self._conditions)
        return self.changes

    def end(self) -> None:
        """Refuse later changes, because they would not be committed."""
        self._ended = True

    def set(self, block_key: BlockKey, fields: Mapping[str, Any], scope: Scope = Scope.user_state) -> None:
        """Overlay `fields` on the state of one block."""
        self._add(block_key, arguments.overlay(block_key, fields), arguments.checked_scope(scope))

    def delete(self, block_key: BlockKey, fields: Iterable[str] | None = None, scope: Scope = Scope.user_state) -> None:
        """Remove `fields`, or all fields, from the state of one block."""
        self._add(block_key, arguments.removal(fields), arguments.checked_scope(scope))

    def replace(self, block_key: BlockKey, state: Mapping[str, Any] | None, scope: Scope = Scope.user_state) -> None:
        """Make the state of one block exactly `state`, and make its row if there is none."""
        self._add(block_key, arguments.replacement(block_key, state), arguments.checked_scope(scope))

    def set_score(self, block_key: UsageKey, grade: float | None, max_grade: float | None) -> None:
        """Set the learner's score in one block."""
        self._add(block_key, arguments.new_score(grade, max_grade), Scope.user_state)

    def _add(self, block_key: BlockKey, change: Change, scope: Scope) -> None:
        if self._ended:
            raise RuntimeError("this batch has ended; make its changes inside the with block")
        row = row_key(block_key, scope)
        changes = self.changes.setdefault(scope, {})
        # `then` keeps the first change's only_new, so each row starts from one that has it.
        changes[row] = changes.get(row, Change(only_new=self._only_new)).then(change)
