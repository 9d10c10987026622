"""Destinations of changes: the client, nowhere, or the session of staff who act as the learner."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, MutableMapping
from datetime import datetime
from functools import partial
from typing import Any

from msgspec import Raw
from opaque_keys.edx.keys import UsageKey
from xblock.fields import Scope

from xblock_user_state.interface import BlockScore, Conflict, XBlockUserStateClient
from xblock_user_state.metrics import names
from xblock_user_state.metrics.current import count
from xblock_user_state.runtime.addresses import RowAddress
from xblock_user_state.runtime.changes import Changes, FieldChanges
from xblock_user_state.runtime.guarding import LockableConflict
from xblock_user_state.state.codec import decode_field
from xblock_user_state.state.keys import BlockId, checked_block

SESSION_KEY = "xblock_user_state.masquerade"


class Destination(ABC):
    """Takes all changes of one save or of one unit of work."""

    dropped = 0
    """The number of dropped changes of a row."""

    reaches_learner = False
    """Changes are committed to the learner's rows, so a guard of their revisions has a meaning."""

    @property
    def place(self) -> object:
        """A value that is equal for all destinations that put a row of all learners in the same place."""
        return type(self)

    @abstractmethod
    def commit(self, changes: Changes, revisions: Mapping[RowAddress, int]) -> None:
        """Keep all changes, or raise and keep none.

        Where the changes reach the learner's rows, these rows must have these `revisions`; else it is a `Conflict`.
        """

    def set_score(self, block_key: UsageKey, score: BlockScore) -> datetime | None:
        """Keep one score; return its row's time, ``None`` if there is no row."""
        self.commit(Changes(scores={RowAddress(Scope.user_state, checked_block(block_key)): score}), {})
        return score.updated

    def earlier(self, address: RowAddress) -> FieldChanges:
        """Return the fields that earlier requests have put over the learner's row."""
        return {}


class ToClient(Destination):
    """Writes the learner's own changes: one transaction, one revision and one history entry a block."""

    reaches_learner = True

    def __init__(self, client: XBlockUserStateClient, username: str) -> None:
        self._client = client
        self._username = username

    @property
    def place(self) -> object:
        # Clients are made for a user each, but those of one class use one database. A visitor's has its own copies.
        return type(self._client)

    def commit(self, changes: Changes, revisions: Mapping[RowAddress, int]) -> None:
        """Keep all changes, or raise and keep none."""
        named = {(address.scope, address.block_key): revision for address, revision in revisions.items()}
        try:
            self._commit(changes, named)
        except Conflict as error:
            lock = partial(self._client.locked, self._username, changes.block_keys())
            raise LockableConflict(*error.args, rows=error.rows, lock=lock) from error

    def _commit(self, changes: Changes, revisions: Mapping[tuple[Scope, Any], int]) -> None:
        # A client of another package may lack the argument, so only a guarded unit gives it.
        conditions: dict[str, Any] = {"if_revisions": revisions} if revisions else {}
        with self._client.batch(self._username, **conditions) as batch:
            for address, fields in changes.fields.items():
                if values := {name: decode_field(text) for name, text in fields.items() if text is not None}:
                    batch.set(address.block_key, values, address.scope)
                if removed := [name for name, text in fields.items() if text is None]:
                    batch.delete(address.block_key, removed, address.scope)
            for address, score in changes.scores.items():
                batch.set_score(address.block_key, score.grade, score.max_grade)

    def set_score(self, block_key: UsageKey, score: BlockScore) -> datetime | None:
        """Keep one score; return its row's time, ``None`` if there is no row."""
        return self._client.set_score(self._username, block_key, score.grade, score.max_grade)


class Nowhere(Destination):
    """Drops and counts the changes of a reader who must leave no trace, such as a crawler."""

    def commit(self, changes: Changes, revisions: Mapping[RowAddress, int]) -> None:
        """Drop all changes."""
        self.dropped += len(changes.addresses)
        for address in changes.addresses:
            count(names.DROPPED_WRITES, 1, address.scope.name)


class ToSession(Destination):
    """Keeps the fields that staff change as a learner in their session, as JSON texts, and drops scores.

    A session is saved as a whole: of two concurrent requests of one session, the later may undo the earlier.
    """

    def __init__(self, session: MutableMapping[str, Any], learner_id: Any) -> None:
        self._session = session
        self._learner = str(learner_id)

    @property
    def place(self) -> object:
        # The session has a copy for each learner.
        return self._learner

    def commit(self, changes: Changes, revisions: Mapping[RowAddress, int]) -> None:
        """Put the fields over the fields in the session."""
        kept = self._session.get(SESSION_KEY, {})
        rows = {**kept.get(self._learner, {})}
        for address, fields in changes.fields.items():
            texts = {name: None if text is None else str(text, "utf-8") for name, text in fields.items()}
            rows[_name_of(address)] = {**rows.get(_name_of(address), {}), **texts}
        # Django saves a session if one of its keys is set; it does not notice a change inside a value.
        self._session[SESSION_KEY] = {**kept, self._learner: rows}

    def earlier(self, address: RowAddress) -> FieldChanges:
        """Return the fields that staff have changed in the row as this learner."""
        texts = self._session.get(SESSION_KEY, {}).get(self._learner, {}).get(_name_of(address), {})
        return {name: None if text is None else Raw(text) for name, text in texts.items()}


def clear_masquerade(session: MutableMapping[str, Any], learner: Any = None) -> None:
    """Forget the changes that staff made in this session as one learner, or as all learners.

    `learner` is a user. The learners' own state is not touched.
    """
    kept = session.pop(SESSION_KEY, {})
    left = {id_: rows for id_, rows in kept.items() if learner is not None and id_ != str(id_of(learner))}
    if left:
        session[SESSION_KEY] = left


def id_of(user: Any) -> Any:
    """Return the id of a user; ``None`` for a visitor."""
    # The primary key of a host's user model may have another name than ``id``. Users of tests have no ``pk``.
    return user.pk if hasattr(user, "pk") else user.id


def _name_of(address: RowAddress) -> str:
    # Sessions are stored as JSON, whose keys are strings. A block's id is shorter than its key.
    row = address.row.id if isinstance(address.row, BlockId) else address.row or ""
    return f"{address.scope.name} {row}"
