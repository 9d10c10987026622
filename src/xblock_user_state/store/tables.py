"""Describes the tables of the four scopes, so that one reader and one writer serve all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from xblock.fields import Scope

from xblock_user_state.state.change import Row
from xblock_user_state.state.keys import BlockId, RowKey
from xblock_user_state.store.dialects.rows import REVISION
from xblock_user_state.store.models import Preferences, StudentModule, UserInfo, UserStateRow, UserStateSummary


# Compared by identity, which is cheap: the hash of a scope is Python code.
@dataclass(frozen=True, eq=False)
class Table:
    """The table of a scope. Its primary key is the learner, if `owned`, and the key column, if there is one."""

    scope: Scope
    model: type[UserStateRow]
    owned: bool
    key_column: str | None

    @property
    def key_columns(self) -> tuple[str, ...]:
        """The key column as a tuple: of one item or of none."""
        return (self.key_column,) if self.key_column else ()

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that a write sets, the key's apart. `values` and `row` follow their order."""
        # Only blocks of one learner have a score and a history.
        extra = ("grade", "max_grade", "history_chain", "history_checksum") if self.model is StudentModule else ()
        return (REVISION, "state", "created", "modified", *extra)

    def pinned(self, student_id: Any) -> dict[str, Any]:
        """Return the pinned columns of every statement: the learner, or none where all learners share a row."""
        return {"student_id": student_id} if self.owned else {}

    def key_value(self, key: RowKey) -> Any:
        """Return the value of the key column for `key`."""
        return key.id if isinstance(key, BlockId) else key

    def values(self, row: Row) -> tuple[Any, ...]:
        """Return the columns' values for `row`."""
        extra = (row.grade, row.max_grade, row.chain, row.checksum) if self.model is StudentModule else ()
        return (row.revision, row.text, row.created, row.modified, *extra)

    def row(self, values: Sequence[Any]) -> Row:
        """Return the row for the columns' values."""
        revision, text, created, modified, *extra = values
        grade, max_grade, chain, checksum = extra or (None, None, 0, None)
        return Row(revision, text, grade, max_grade, created, modified, chain, checksum)


TABLES = {
    Scope.user_state: Table(Scope.user_state, StudentModule, owned=True, key_column="block_id"),
    Scope.preferences: Table(Scope.preferences, Preferences, owned=True, key_column="block_type"),
    Scope.user_info: Table(Scope.user_info, UserInfo, owned=True, key_column=None),
    Scope.user_state_summary: Table(Scope.user_state_summary, UserStateSummary, owned=False, key_column="block_id"),
}
