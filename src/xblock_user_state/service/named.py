"""The client of a request: a write that the caller has named is done once."""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

from django.http import HttpRequest
from opaque_keys.edx.keys import LearningContextKey

from xblock_user_state import wire
from xblock_user_state.access import Action
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.interface import Conflict, Learner, UserId
from xblock_user_state.service.callers import Caller
from xblock_user_state.state.change import Changes, WrittenRows
from xblock_user_state.store.databases import state_database
from xblock_user_state.store.dialects.rows import Rows
from xblock_user_state.store.once import Named, NameTaken, answer_to, name_row, take
from xblock_user_state.store.tables import TABLES
from xblock_user_state.store.writer import Beside

_MOST_CHARACTERS = 64
_CONDITIONS = ("If-Match", "If-None-Match")


class _Name(NamedTuple):
    """The name of a write, which is stored with the answer."""

    owner: Any
    named: Named
    changes: Changes

    def row(self, written: WrittenRows) -> Rows:
        return name_row(state_database(), self.owner, self.named, _packed(self.changes, written))

    def store(self, written: WrittenRows) -> None:
        take(self.row(written))


class RequestClient(DjangoXBlockUserStateClient):
    """The client over Django's database, whose policy is asked before a repetition gets its answer, too."""

    def __init__(self, caller: Caller, named: Named | None) -> None:
        super().__init__(caller.actor, caller.policy)
        self._named = named

    def learner_to_see(self, learner: Learner, course_key: LearningContextKey | None) -> Any:
        """Ask the policy about the history of a learner, or of all for ``None``; return the id of the learner."""
        name = None if learner is None else self._checked_name(learner)
        self._asker.context(Action.SEE_HISTORY, name, course_key)
        return None if name is None else self._user_id(name)

    def _beside(self, username: str | UserId, changes: Changes) -> Beside | None:
        owner = self._owner(username, changes) if self._named else None
        if self._named is None or owner is None:
            return None
        return _Name(owner, self._named, changes)

    def _write(self, username: str | UserId, changes: Changes, operation: str) -> WrittenRows:
        try:
            return super()._write(username, changes, operation)
        # A condition of a repetition does not hold any more, because the first write was done.
        except (NameTaken, Conflict):
            answer = self._answer(username, changes)
            if answer is None:
                raise
        return _unpacked(changes, answer)

    def _answer(self, username: str | UserId, changes: Changes) -> str | None:
        if self._named is None:
            return None
        return answer_to(state_database(), self._owner(username, changes), self._named)

    def _owner(self, username: str | UserId, changes: Changes) -> Any:
        """Return the id of the learner with whose state the name lies; ``None`` if the write can only be refused."""
        learner = self._user_id(username)
        if learner is not None or any(TABLES[scope].owned for scope in changes):
            return learner
        if self._actor_id is None:
            raise ValueError(f"{wire.IDEMPOTENCY_KEY}: nobody's write can't be named; name a learner, or authenticate")
        return self._actor_id


def named(request: HttpRequest, caller: Caller, body: bytes) -> Named | None:
    """Return the caller's name for a request, if it has one. Raises ``ValueError`` for a key that is too long."""
    key = request.headers.get(wire.IDEMPOTENCY_KEY)
    if key is None:
        return None
    if not (0 < len(key) <= _MOST_CHARACTERS and key.isascii() and key.isprintable()):
        raise ValueError(f"{wire.IDEMPOTENCY_KEY} must have 1 to {_MOST_CHARACTERS} characters of printable ASCII")
    conditions = [request.headers.get(name, "") for name in _CONDITIONS]
    # All that the answer depends on; no part has a line break.
    parts = [str(getattr(caller.actor, "pk", None)), str(request.method), request.get_full_path(), *conditions]
    digest = hashlib.blake2b("\n".join(parts).encode() + b"\n" + body, digest_size=16)
    return Named(key, digest.hexdigest())


def _packed(changes: Changes, written: WrittenRows) -> str:
    rows = [written.get(scope, {}).get(key) for scope, by_key in changes.items() for key in by_key]
    return wire.encode(wire.Rows(rows=[row and wire.StoredRow.of(row, with_state=False) for row in rows])).decode()


def _unpacked(changes: Changes, answer: str) -> WrittenRows:
    """Return the rows of an answer. The same request makes the same changes, in the same order."""
    rows = iter(wire.decode(wire.Rows, answer).rows)
    return {
        scope: {key: row.row() for key in by_key if (row := next(rows)) is not None}
        for scope, by_key in changes.items()
    }
