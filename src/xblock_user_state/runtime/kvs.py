"""XBlock's key-value store over the user state client: how blocks' fields reach the learner's state."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from django.db import DatabaseError
from opaque_keys.edx.block_types import BlockTypeKeyV1
from opaque_keys.edx.keys import UsageKey
from xblock.exceptions import InvalidScopeError, KeyValueMultiSaveError
from xblock.fields import Scope, UserScope
from xblock.runtime import KeyValueStore

from xblock_user_state.interface import (
    BlockKey,
    DoesNotExist,
    PermissionDenied,
    State,
    UserStateError,
    XBlockUserStateClient,
)

SCOPES = (Scope.user_state, Scope.user_state_summary, Scope.preferences, Scope.user_info)


class UserStateKeyValueStore(KeyValueStore):
    """The four learner scopes of one learner's blocks and asides; make one for each request.

    Give it to `xblock.runtime.KvsFieldData`. What authors write (content, settings, children) belongs elsewhere: a
    key of such a scope is an ``InvalidScopeError``, and a key of another learner `PermissionDenied`. Values that are
    read are fresh objects, which blocks may change as they like. Each read is one statement.
    """

    def __init__(self, client: XBlockUserStateClient, user: Any) -> None:
        """`user` is one of Django's, or what a host's tests put in its place: an id and a username."""
        self._client = client
        self._user_id = user.id
        self._username: str = user.get_username() if hasattr(user, "get_username") else user.username
        self._scores: dict[UsageKey, tuple[float | None, float | None]] = {}

    def get(self, key: KeyValueStore.Key) -> Any:
        """Return the value that was stored, as plain JSON; ``KeyError`` if there is none."""
        try:
            return self._read(key)[key.field_name]
        except KeyError:
            raise KeyError(repr(key)) from None

    def has(self, key: KeyValueStore.Key) -> bool:
        return key.field_name in self._read(key)

    def set(self, key: KeyValueStore.Key, value: Any) -> None:
        self._write(self._states({key: value}))

    def set_many(self, update_dict: Mapping[KeyValueStore.Key, Any]) -> None:
        """Write all of it, whatever its scopes and blocks, and the scores that wait, in one transaction.

        A failure is a ``KeyValueMultiSaveError`` that names no field as saved, because none was.
        """
        states = self._states(update_dict)
        try:
            self._write(states)
        except (UserStateError, DatabaseError) as error:
            raise KeyValueMultiSaveError([]) from error

    def delete(self, key: KeyValueStore.Key) -> None:
        """Remove one value at once; ``KeyError`` if there is none."""
        if not self.has(key):
            raise KeyError(repr(key))
        self._client.delete(self._username, self._block_key(key), key.scope, fields=[key.field_name])

    def set_score(self, block_key: UsageKey, grade: float | None, max_grade: float | None) -> None:
        """Keep a score for the next save: a block publishes its grade just before its fields are saved.

        So an answer and its score are one change, with one history entry. Call `flush` when the block has been
        saved, for one that changed no field.
        """
        self._scores[block_key] = (grade, max_grade)

    def flush(self) -> None:
        """Write the scores that no save has taken along."""
        self._write({})

    def _read(self, key: KeyValueStore.Key) -> State:
        block_key = self._block_key(key)
        try:
            found = self._client.get(self._username, block_key, key.scope, fields=[key.field_name])
        except DoesNotExist:
            return {}
        return found.state or {}

    def _write(self, states: Mapping[tuple[Scope, BlockKey], State]) -> None:
        scores, self._scores = self._scores, {}
        if not states and not scores:
            return
        with self._client.batch(self._username) as batch:
            for (scope, block_key), fields in states.items():
                batch.set(block_key, fields, scope)
            for usage_key, (grade, max_grade) in scores.items():
                batch.set_score(usage_key, grade, max_grade)

    def _states(self, values: Mapping[KeyValueStore.Key, Any]) -> dict[tuple[Scope, BlockKey], State]:
        states: dict[tuple[Scope, BlockKey], State] = defaultdict(dict)
        for key, value in values.items():
            states[key.scope, self._block_key(key)][key.field_name] = value
        return states

    def _block_key(self, key: KeyValueStore.Key) -> BlockKey:
        """Return what the client calls the owner of this key's field."""
        if key.scope not in SCOPES:
            raise InvalidScopeError(key.scope, SCOPES)
        if key.scope.user == UserScope.ONE and key.user_id != self._user_id:
            raise PermissionDenied(
                f"this store holds the state of {self._username!r} (id {self._user_id}); the field"
                f" {key.field_name!r} of {key.block_scope_id} was asked for user id {key.user_id}"
            )
        if key.scope == Scope.preferences:
            return BlockTypeKeyV1(key.block_family, key.block_scope_id)
        return None if key.scope == Scope.user_info else key.block_scope_id
