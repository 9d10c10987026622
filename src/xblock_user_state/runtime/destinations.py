"""Where changes go: to the client, nowhere, or into the session of staff who act as the learner."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import MutableMapping
from typing import Any

from msgspec import Raw

from xblock_user_state.interface import XBlockUserStateClient
from xblock_user_state.metrics import names
from xblock_user_state.metrics.current import count
from xblock_user_state.runtime.changes import Changes, FieldChanges
from xblock_user_state.runtime.places import Place
from xblock_user_state.state.codec import decode_field
from xblock_user_state.state.keys import BlockId

SESSION_KEY = "xblock_user_state.masquerade"


class Destination(ABC):
    """Takes all changes of one save, or of one unit of work."""

    dropped = 0
    """So many changes of a row were dropped."""

    @abstractmethod
    def commit(self, changes: Changes) -> None:
        """Keep all of it, or raise and keep none."""

    def earlier(self, place: Place) -> FieldChanges:
        """Return what earlier requests have put over the learner's row."""
        return {}


class ToClient(Destination):
    """The learner's own work: one transaction, one revision and one history entry a block."""

    def __init__(self, client: XBlockUserStateClient, username: str) -> None:
        self._client = client
        self._username = username

    def commit(self, changes: Changes) -> None:
        """Keep all of it, or raise and keep none."""
        with self._client.batch(self._username) as batch:
            for place, fields in changes.fields.items():
                if values := {name: decode_field(text) for name, text in fields.items() if text is not None}:
                    batch.set(place.block_key, values, place.scope)
                if removed := [name for name, text in fields.items() if text is None]:
                    batch.delete(place.block_key, removed, place.scope)
            for place, score in changes.scores.items():
                batch.set_score(place.block_key, *score)


class Nowhere(Destination):
    """A reader whose visit leaves no trace, such as a crawler. What is dropped is counted."""

    def commit(self, changes: Changes) -> None:
        """Drop all of it."""
        self.dropped += len(changes.places)
        for place in changes.places:
            count(names.DROPPED_WRITES, 1, place.scope.name)


class ToSession(Destination):
    """Staff who act as a learner: fields stay in their session, as JSON texts, and scores are dropped.

    A session is a whole: of two requests of one session at once the later may undo what the earlier kept.
    """

    def __init__(self, session: MutableMapping[str, Any], learner_id: Any) -> None:
        self._session = session
        self._learner = str(learner_id)

    def commit(self, changes: Changes) -> None:
        """Put the fields over those that the session has."""
        kept = self._session.get(SESSION_KEY, {})
        rows = {**kept.get(self._learner, {})}
        for place, fields in changes.fields.items():
            texts = {name: None if text is None else str(text, "utf-8") for name, text in fields.items()}
            rows[_name_of(place)] = {**rows.get(_name_of(place), {}), **texts}
        # A session is saved if one of its keys is set; what is inside of them it does not see.
        self._session[SESSION_KEY] = {**kept, self._learner: rows}

    def earlier(self, place: Place) -> FieldChanges:
        """Return what staff have done to the row as this learner."""
        texts = self._session.get(SESSION_KEY, {}).get(self._learner, {}).get(_name_of(place), {})
        return {name: None if text is None else Raw(text) for name, text in texts.items()}


def clear_masquerade(session: MutableMapping[str, Any], learner: Any = None) -> None:
    """Forget what staff did in this session as one learner, or as anyone. The learner has never seen it."""
    kept = session.pop(SESSION_KEY, {})
    left = {id_: rows for id_, rows in kept.items() if learner is not None and id_ != str(learner.id)}
    if left:
        session[SESSION_KEY] = left


def _name_of(place: Place) -> str:
    # The id of a block is made from its key and so is a name of it, which is short.
    row = place.row.id if isinstance(place.row, BlockId) else place.row or ""
    return f"{place.scope.name} {row}"
