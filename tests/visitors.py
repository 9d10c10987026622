"""A client of visitors for the contract's tests, which pass usernames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from uuid import uuid4

from opaque_keys.edx.keys import LearningContextKey, UsageKey
from xblock.fields import Scope

from xblock_user_state.clients.base import CheckedClient, LearnerRow, RecordedState, Source
from xblock_user_state.ephemeral import EphemeralXBlockUserStateClient
from xblock_user_state.interface import UserId
from xblock_user_state.memory import InMemoryXBlockUserStateClient
from xblock_user_state.state.change import Changes, Row, WrittenRows
from xblock_user_state.state.keys import BlockId, RowKey


class NamedVisitors(CheckedClient):
    """Calls a separate ephemeral client for each username, without passing the name on."""

    def __init__(self) -> None:
        self._run = uuid4().hex
        self._shared = InMemoryXBlockUserStateClient()

    def _of(self, username: str | UserId) -> EphemeralXBlockUserStateClient:
        return EphemeralXBlockUserStateClient(f"{self._run}{username}", self._shared, max_bytes=10_000_000)

    def _rows(self, username: str | UserId, keys: Sequence[RowKey], scope: Scope) -> Mapping[RowKey, Row]:
        return self._of(username)._rows("", keys, scope)

    def _history(
        self, username: str | UserId, block: BlockId, limit: int | None, before_revision: int | None
    ) -> Iterable[RecordedState]:
        return self._of(username)._history("", block, limit, before_revision)

    def _all_of_block(self, key: RowKey, scope: Scope, batch_size: int, source: Source) -> Iterable[LearnerRow]:
        return self._of("")._all_of_block(key, scope, batch_size, source)

    def _all_of_course(
        self, course_key: LearningContextKey, block_type: str | None, scope: Scope, batch_size: int, source: Source
    ) -> Iterable[LearnerRow]:
        return self._of("")._all_of_course(course_key, block_type, scope, batch_size, source)

    def _find_blocks(self, text: str) -> Iterable[UsageKey]:
        return self._of("")._find_blocks(text)

    def _latest(
        self, username: str | UserId, limit: int, course_key: LearningContextKey | None
    ) -> Iterable[LearnerRow]:
        return self._of(username)._latest("", limit, course_key)

    def _write(self, username: str | UserId, changes: Changes, operation: str) -> WrittenRows:
        return self._of(username)._write("", changes, operation)
