"""The client in memory: the twin of the Django client for hosts' unit tests, with the same meaning and no database.

Every username is a known user. The same contract tests hold for both.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import islice
from threading import Lock
from typing import Any

from opaque_keys.edx.keys import LearningContextKey, UsageKey
from xblock.fields import Scope

from xblock_user_state.clients import arguments
from xblock_user_state.clients.base import Changes, ChangeWriter
from xblock_user_state.interface import (
    ANONYMOUS,
    BlockKey,
    BlockScore,
    DoesNotExist,
    HistoryEntry,
    PermissionDenied,
    XBlockUserState,
)
from xblock_user_state.state.change import Row, clock, existing_state, is_state
from xblock_user_state.state.keys import BlockId, RowKey, canonical_key, is_among, row_key

_Place = tuple[Scope, str | None, RowKey]


class InMemoryXBlockUserStateClient(ChangeWriter):
    """Keeps learner state in the object itself, and may be shared by threads."""

    def __init__(self, recorded_block_types: Collection[str] = ("problem",)) -> None:
        """`recorded_block_types` is as the setting ``RECORDED_BLOCK_TYPES``: ``"*"`` for all."""
        self._recorded = recorded_block_types
        self._rows: dict[_Place, Row] = {}
        self._history: dict[_Place, list[Row]] = {}
        self._lock = Lock()

    def get_many(
        self,
        username: str | None,
        block_keys: Iterable[BlockKey],
        scope: Scope = Scope.user_state,
        fields: Collection[str] | None = None,
    ) -> Iterator[XBlockUserState]:
        """Yield the states of the blocks that have one, in the order asked for."""
        scope = arguments.checked_scope(scope)
        owner = _owner(username, scope)
        keys = arguments.row_keys(block_keys, scope)
        names = arguments.checked_fields(fields)
        found = ((key, self._rows.get((scope, owner, row))) for key, row in keys)
        return (
            XBlockUserState(username, key, state, row.modified, scope)
            for key, row in found
            if row and (state := existing_state(row.text, names)) is not None
        )

    def get_encoded(
        self, username: str | None, block_keys: Iterable[BlockKey], scope: Scope = Scope.user_state
    ) -> dict[Any, str]:
        """Return the JSON texts of the states of those blocks that have one, as they are stored."""
        scope = arguments.checked_scope(scope)
        owner = _owner(username, scope)
        found = ((key, self._rows.get((scope, owner, row))) for key, row in arguments.row_keys(block_keys, scope))
        return {key: row.text for key, row in found if row and is_state(row.text)}

    def get_history(
        self,
        username: str | None,
        block_key: BlockKey,
        scope: Scope = Scope.user_state,
        limit: int | None = None,
        before_revision: int | None = None,
    ) -> Iterator[HistoryEntry]:
        """Yield what the state was after each change, newest first."""
        scope = arguments.checked_scope(scope)
        place = (scope, _owner(username, scope), row_key(block_key, scope))
        return self._get_history(username, block_key, place, *arguments.checked_window(limit, before_revision))

    def _get_history(
        self, username: str | None, block_key: BlockKey, place: _Place, limit: int | None, before_revision: int | None
    ) -> Iterator[HistoryEntry]:
        scope = place[0]
        rows = self._history.get(place, [])[::-1]
        if not rows and before_revision is None:
            raise DoesNotExist(f"no history of {username!r} in {block_key} ({scope.name}) was recorded")
        older = (row for row in rows if before_revision is None or row.revision < before_revision)
        for row in islice(older, limit):
            result = (username, block_key, existing_state(row.text), row.modified, scope)
            yield HistoryEntry(result, row.revision, row.score)

    def iter_all_for_block(
        self, block_key: BlockKey, scope: Scope = Scope.user_state, batch_size: int | None = None
    ) -> Iterator[XBlockUserState]:
        """Yield the states that all learners have in one block."""
        scope = arguments.checked_scope(scope)
        row = row_key(block_key, scope)
        arguments.checked_batch_size(batch_size)
        return self._iterate(lambda place: place[0] == scope and place[2] == row)

    def iter_all_for_course(
        self,
        course_key: LearningContextKey,
        block_type: str | None = None,
        scope: Scope = Scope.user_state,
        batch_size: int | None = None,
    ) -> Iterator[XBlockUserState]:
        """Yield the states of all learners in all blocks of a course."""
        scope = arguments.checked_course_scope(scope)
        context_id = arguments.checked_course(course_key)
        types = {arguments.checked_block_type(block_type)}
        arguments.checked_batch_size(batch_size)

        def is_wanted(place: _Place) -> bool:
            block = place[2]
            return (
                place[0] == scope
                and isinstance(block, BlockId)
                and block.context_id == context_id
                and not types.isdisjoint((None, block.block_type))
            )

        return self._iterate(is_wanted)

    def _iterate(self, is_wanted: Callable[[_Place], bool]) -> Iterator[XBlockUserState]:
        with self._lock:
            found = [(place, row) for place, row in self._rows.items() if is_wanted(place)]
        for (scope, owner, key), row in found:
            state = existing_state(row.text)
            if state is not None:
                yield XBlockUserState(owner, canonical_key(key), state, row.modified, scope)

    def get_scores(self, username: str | None, block_keys: Iterable[UsageKey]) -> dict[UsageKey, BlockScore]:
        """Return the scores of those blocks that have one."""
        owner = _owner(username, Scope.user_state)
        keys = arguments.row_keys(block_keys, Scope.user_state)
        rows = ((key, self._rows.get((Scope.user_state, owner, row))) for key, row in keys)
        return {key: row.score for key, row in rows if row is not None and row.score is not None}

    def _write(self, username: str | None, changes: Changes, operation: str) -> None:
        if not arguments.checked_username(username) and changes.keys() - {Scope.user_state_summary}:
            raise PermissionDenied(ANONYMOUS)
        with self._lock:
            now = clock()
            written = {
                (scope, _owner(username, scope), key): row
                for scope, by_key in changes.items()
                for key, change in by_key.items()
                if (row := change.apply(self._rows.get((scope, _owner(username, scope), key)), now)) is not None
            }
            self._rows.update(written)
            for place, row in written.items():
                if self._is_recorded(place):
                    self._history.setdefault(place, []).append(row)

    def _is_recorded(self, place: _Place) -> bool:
        scope, _, key = place
        return scope == Scope.user_state and isinstance(key, BlockId) and is_among(key.block_type, self._recorded)


def _owner(username: str | None, scope: Scope) -> str | None:
    """Return whose row it is; ``None`` for one that all learners share."""
    name = arguments.checked_username(username)
    return None if scope == Scope.user_state_summary else name
