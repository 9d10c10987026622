"""Where changes go: to the client, or nowhere."""

from __future__ import annotations

from abc import ABC, abstractmethod

from xblock_user_state.interface import XBlockUserStateClient
from xblock_user_state.metrics import names
from xblock_user_state.metrics.current import count
from xblock_user_state.runtime.changes import Changes
from xblock_user_state.state.codec import decode_field


class Destination(ABC):
    """Takes all changes of one save, or of one unit of work."""

    dropped = 0
    """So many changes of a row were dropped."""

    @abstractmethod
    def commit(self, changes: Changes) -> None:
        """Keep all of it, or raise and keep none."""


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
