"""The client in memory, for the unit tests of hosts: it needs neither Django nor a database.

It passes the same contract tests as the Django client. Every username is a known user.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from copy import copy
from itertools import islice
from threading import RLock
from typing import Any

from opaque_keys.edx.keys import LearningContextKey, UsageKey
from xblock.fields import Scope

from xblock_user_state.access import Policy, Question, name_of
from xblock_user_state.clients.asking import asker_for
from xblock_user_state.clients.base import (
    CheckedClient,
    LearnerRow,
    RecordedState,
    Source,
    refuse_anonymous,
)
from xblock_user_state.interface import UserId
from xblock_user_state.state.change import Changes, Row, WrittenRows, check_conditions, clock, existing_state, score_of
from xblock_user_state.state.keys import BlockId, RowKey, canonical_key, identify_context, is_among, parse_block

__all__ = ["InMemoryXBlockUserStateClient"]

_Address = tuple[Scope, str | UserId | None, RowKey]
"""Scope, learner (``None`` for a row that all learners share) and key of a row."""


class InMemoryXBlockUserStateClient(CheckedClient):
    """Keeps learner state in the object itself. Threads may share it."""

    def __init__(
        self,
        recorded_block_types: Collection[str] = ("problem",),
        user_ids: Mapping[str, Any] | None = None,
        *,
        user: Any = None,
        policy: Policy | None = None,
    ) -> None:
        """`recorded_block_types` is as the setting ``RECORDED_BLOCK_TYPES``: ``"*"`` for all.

        `user_ids` has the ids of users by name, for calls with a `UserId`. Ids are compared by their texts. Any other
        id is a learner without a name, whom iterations leave out as they do deleted users.

        `user` is a user or a username, and `policy` as for `DjangoXBlockUserStateClient`.
        """
        self._recorded = recorded_block_types
        self._names = {str(id_): name for name, id_ in (user_ids or {}).items()}
        self._stored: dict[_Address, Row] = {}
        self._entries: dict[_Address, list[tuple[Row, str | None]]] = {}
        # Reentrant: a thread that holds it in `locked` goes on reading and writing.
        self._lock = RLock()
        self._act_as(user, policy)

    def for_user(self, user: Any, policy: Policy | None = None) -> InMemoryXBlockUserStateClient:
        """Return a client of another user over the same state."""
        client = copy(self)
        client._act_as(user, policy)  # noqa: SLF001 (its own class)
        return client

    def _act_as(self, user: Any, policy: Policy | None) -> None:
        self._asker = asker_for(user, policy, _unreported)
        self._actor = name_of(user) or None

    def _checked_name(self, username: object) -> str | UserId:
        name = super()._checked_name(username)
        if isinstance(name, UserId):
            return self._names.get(str(name.id), UserId(str(name.id)))
        return name

    def _rows(self, username: str | UserId, keys: Sequence[RowKey], scope: Scope) -> Mapping[RowKey, Row]:
        with self._lock:
            found = {key: self._stored.get(_address(username, key, scope)) for key in keys}
        return {key: row for key, row in found.items() if row is not None}

    def _history(
        self, username: str | UserId, block: BlockId, limit: int | None, before_revision: int | None
    ) -> Iterator[RecordedState]:
        # A copy, because a writer may append meanwhile.
        newest_first = self._entries.get(_address(username, block, Scope.user_state), [])[::-1]
        older = (entry for entry in newest_first if before_revision is None or entry[0].revision < before_revision)
        for row, actor in islice(older, limit):
            score = score_of(row.grade, row.max_grade, row.modified)
            yield RecordedState(row.revision, existing_state(row.text), row.modified, score, actor)

    def _all_of_block(self, key: RowKey, scope: Scope, batch_size: int, source: Source) -> Iterator[LearnerRow]:
        return self._all_of(scope, lambda found: found == key)

    def _all_of_course(
        self, course_key: LearningContextKey, block_type: str | None, scope: Scope, batch_size: int, source: Source
    ) -> Iterator[LearnerRow]:
        context_id = identify_context(course_key)

        def is_wanted(key: RowKey) -> bool:
            return isinstance(key, BlockId) and key.context_id == context_id and block_type in (None, key.block_type)

        return self._all_of(scope, is_wanted)

    def _all_of(self, scope: Scope, is_wanted: Callable[[RowKey], bool]) -> Iterator[LearnerRow]:
        with self._lock:
            # A copy, so that writers need not wait for the end of an iteration.
            found = [each for each in self._stored.items() if each[0][0] == scope and is_wanted(each[0][2])]
        for (_, username, key), row in found:
            if isinstance(username, UserId):
                continue
            yield LearnerRow(username, canonical_key(key), row.text, row.modified, row.revision)

    def _find_blocks(self, text: str) -> Iterator[UsageKey]:
        with self._lock:
            keys = {key for _, _, key in self._stored if isinstance(key, BlockId) and key.usage_key == text}
        for key in sorted(keys):
            yield parse_block(key.context_key, key.usage_key)

    def _latest(
        self, username: str | UserId, limit: int, course_key: LearningContextKey | None
    ) -> Iterator[LearnerRow]:
        context_id = None if course_key is None else identify_context(course_key)
        with self._lock:
            found = [
                (key, row)
                for (scope, learner, key), row in self._stored.items()
                if scope == Scope.user_state and learner == username and isinstance(key, BlockId)
            ]
        of_context = [(key, row) for key, row in found if context_id in (None, key.context_id)]
        # Rows of one call have one time; then the id decides, as in the database.
        of_context.sort(key=lambda item: (item[1].modified, -item[0].id), reverse=True)
        for key, row in of_context[:limit]:
            yield LearnerRow(None, canonical_key(key), row.text, row.modified, row.revision)

    def _write(self, username: str | UserId, changes: Changes, operation: str) -> WrittenRows:
        refuse_anonymous(username, changes)
        with self._lock:
            check_conditions(changes, lambda scope, key: self._stored.get(_address(username, key, scope)))
            # Under the lock, so that times rise in the order of the writes.
            now = clock()
            written: dict[_Address, Row] = {}
            for scope, by_key in changes.items():
                for key, change in by_key.items():
                    address = _address(username, key, scope)
                    row = change.apply(self._stored.get(address), now)
                    if row is not None:
                        written[address] = row
            # Only now, so that a change that raises leaves nothing behind.
            self._stored.update(written)
            for address, row in written.items():
                if self._is_recorded(*address):
                    self._entries.setdefault(address, []).append((row, self._actor))
            return {scope: self._rows(username, [*by_key], scope) for scope, by_key in changes.items()}

    def _locked(
        self, username: str | UserId, rows: Mapping[Scope, Collection[RowKey]]
    ) -> AbstractContextManager[object]:
        # All calls of other threads wait, for any row.
        return self._lock

    def _is_recorded(self, scope: Scope, _: str | UserId | None, key: RowKey) -> bool:
        return scope == Scope.user_state and isinstance(key, BlockId) and is_among(key.block_type, self._recorded)


def _unreported(question: Question, is_allowed: bool) -> None:
    """Log nothing: the client knows no settings."""


def _address(username: str | UserId, key: RowKey, scope: Scope) -> _Address:
    return scope, None if scope == Scope.user_state_summary else username, key
