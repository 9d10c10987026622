"""The four scopes' tables, described so that one reader and one writer serve them all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.db import models
from xblock.fields import Scope

from xblock_user_state.state.change import Row
from xblock_user_state.state.keys import BlockId, RowKey
from xblock_user_state.store.models import Preferences, StudentModule, UserInfo, UserStateRow, UserStateSummary


@dataclass(frozen=True)
class Table:
    """One scope's table: which column names the learner, and which one the rest of the key, if any."""

    scope: Scope
    model: type[UserStateRow]
    owned: bool
    key_column: str | None

    @property
    def key_columns(self) -> tuple[str, ...]:
        """The columns that name a row among those of one owner: one, or none."""
        return (self.key_column,) if self.key_column else ()

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that a write sets."""
        extra = ("grade", "max_grade", "history_chain") if self.model is StudentModule else ()
        return ("revision", "state", "created", "modified", *extra)

    def field(self, column: str) -> models.Field[Any, Any]:
        """Return the model field of a column."""
        return field_of(self.model, column)

    def owner(self, student_id: Any) -> dict[str, Any]:
        """Return the condition that pins the learner; none where all learners share a row."""
        return {"student_id": student_id} if self.owned else {}

    def key_value(self, key: RowKey) -> Any:
        """Return what the key column holds for `key`."""
        return key.id if isinstance(key, BlockId) else key

    def values(self, row: Row) -> tuple[Any, ...]:
        """Return what the columns hold for `row`."""
        extra = (row.grade, row.max_grade, row.chain) if self.model is StudentModule else ()
        return (row.revision, row.text, row.created, row.modified, *extra)

    def row(self, values: Sequence[Any]) -> Row:
        """Return the row of which the columns hold `values`."""
        revision, text, created, modified, *extra = values
        grade, max_grade, chain = extra or (None, None, 0)
        return Row(revision, text, grade, max_grade, created, modified, chain)


TABLES = {
    Scope.user_state: Table(Scope.user_state, StudentModule, owned=True, key_column="block_id"),
    Scope.preferences: Table(Scope.preferences, Preferences, owned=True, key_column="block_type"),
    Scope.user_info: Table(Scope.user_info, UserInfo, owned=True, key_column=None),
    Scope.user_state_summary: Table(Scope.user_state_summary, UserStateSummary, owned=False, key_column="block_id"),
}


@lru_cache(256)
def field_of(model: type[models.Model], column: str) -> models.Field[Any, Any]:
    """Return the field of a model whose column is `column`."""
    return next(field for field in model._meta.concrete_fields if field.column == column)
