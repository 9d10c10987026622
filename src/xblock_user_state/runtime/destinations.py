"""Where changes go."""

from __future__ import annotations

from xblock_user_state.interface import XBlockUserStateClient
from xblock_user_state.runtime.changes import Changes
from xblock_user_state.state.codec import decode_field


class ToClient:
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
