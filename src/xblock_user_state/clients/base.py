"""The writing half of a client: arguments become changes, and one method commits them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from opaque_keys.edx.keys import UsageKey
from xblock.fields import Scope

from xblock_user_state.clients import arguments
from xblock_user_state.clients.batch import ChangeSet
from xblock_user_state.interface import Batch, BlockKey, XBlockUserStateClient
from xblock_user_state.state.change import Change
from xblock_user_state.state.keys import RowKey, checked_block

Changes = Mapping[Scope, Mapping[RowKey, Change]]


class ChangeWriter(XBlockUserStateClient):
    """A client that writes by committing changes of rows: a store has only to say how."""

    @abstractmethod
    def _write(self, username: str | None, changes: Changes, operation: str) -> None:
        """Commit all changes, or none and raise. `operation` is the method that asks, for those who measure."""

    def set_many(
        self,
        username: str | None,
        block_keys_to_state: Mapping[Any, Mapping[str, Any]],
        scope: Scope = Scope.user_state,
    ) -> None:
        """Overlay fields on the states of many blocks: all of it is committed, or nothing and an error raised."""
        scope = arguments.checked_scope(scope)
        self._write(username, {scope: arguments.overlays(block_keys_to_state, scope)}, "set_many")

    def delete_many(
        self,
        username: str | None,
        block_keys: Iterable[BlockKey],
        scope: Scope = Scope.user_state,
        fields: Iterable[str] | None = None,
    ) -> None:
        """Remove `fields`, or all of them, from the states of many blocks: of all or, on an error, of none."""
        scope = arguments.checked_scope(scope)
        removal = arguments.removal(fields)
        keys = arguments.row_keys(block_keys, scope)
        self._write(username, {scope: dict.fromkeys((row for _, row in keys), removal)}, "delete_many")

    def set_score(
        self, username: str | None, block_key: UsageKey, grade: float | None, max_grade: float | None
    ) -> None:
        """Set the learner's score in one block, and leave the state alone; ``None`` for both takes it away."""
        block = checked_block(block_key)
        self._write(username, {Scope.user_state: {block: arguments.new_score(grade, max_grade)}}, "set_score")

    @contextmanager
    def batch(self, username: str | None, *, only_new: bool = False) -> Iterator[Batch]:
        """Collect changes of one learner and commit them together when the ``with`` block ends."""
        arguments.checked_username(username)
        collected = ChangeSet(only_new=only_new)
        try:
            yield collected
        finally:
            collected.end()
        self._write(username, collected.changes, "batch")
