"""Visitors as learners with names, so that tests of the contract, which name theirs, can be run with them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from uuid import uuid4

from opaque_keys.edx.keys import LearningContextKey, UsageKey
from xblock.fields import Scope

from xblock_user_state.clients import arguments
from xblock_user_state.clients.base import Changes, ChangeWriter
from xblock_user_state.ephemeral import EphemeralXBlockUserStateClient
from xblock_user_state.interface import BlockKey, BlockScore, HistoryEntry, XBlockUserState
from xblock_user_state.memory import InMemoryXBlockUserStateClient


class NamedVisitors(ChangeWriter):
    """Gives each name an ephemeral client of its own, and puts the name into what that finds."""

    def __init__(self) -> None:
        self._run = uuid4().hex
        self._shared = InMemoryXBlockUserStateClient()

    def _of(self, username: str | None) -> EphemeralXBlockUserStateClient:
        name = arguments.checked_username(username)
        return EphemeralXBlockUserStateClient(f"{self._run}{name}", self._shared, max_bytes=10_000_000)

    def get_many(
        self,
        username: str | None,
        block_keys: Iterable[BlockKey],
        scope: Scope = Scope.user_state,
        fields: Collection[str] | None = None,
    ) -> Iterator[XBlockUserState]:
        found = self._of(username).get_many("", block_keys, scope, fields)
        return (each._replace(username=username) for each in found)

    def get_history(
        self,
        username: str | None,
        block_key: BlockKey,
        scope: Scope = Scope.user_state,
        limit: int | None = None,
        before_revision: int | None = None,
    ) -> Iterator[HistoryEntry]:
        return self._of(username).get_history("", block_key, scope, limit, before_revision)

    def iter_all_for_block(
        self, block_key: BlockKey, scope: Scope = Scope.user_state, batch_size: int | None = None
    ) -> Iterator[XBlockUserState]:
        return self._of(None).iter_all_for_block(block_key, scope, batch_size)

    def iter_all_for_course(
        self,
        course_key: LearningContextKey,
        block_type: str | None = None,
        scope: Scope = Scope.user_state,
        batch_size: int | None = None,
    ) -> Iterator[XBlockUserState]:
        return self._of(None).iter_all_for_course(course_key, block_type, scope, batch_size)

    def get_scores(self, username: str | None, block_keys: Iterable[UsageKey]) -> dict[UsageKey, BlockScore]:
        return self._of(username).get_scores("", block_keys)

    def _write(self, username: str | None, changes: Changes, operation: str) -> None:
        self._of(username)._write("", changes, operation)
