"""The XBlock service ``user_state``: for blocks that read the state of other blocks, or of other learners."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from opaque_keys.edx.keys import UsageKey

from xblock_user_state.access import MayRead, only_own
from xblock_user_state.interface import PermissionDenied, State, XBlockUserStateClient


class UserStateService:
    """Reads ``user_state`` for whoever looks at the page, the reader, and nothing that they may not see.

    Hosts put it among the services of their runtime under ``user_state``; blocks declare
    ``@XBlock.needs("user_state")``. It reads what is committed: what a block of the same page has not saved yet is not
    there. A visitor without an account has the username ``""``.
    """

    def __init__(self, client: XBlockUserStateClient, reader: str, may_read: MayRead = only_own) -> None:
        """`reader` is the username of who looks at the page, and `may_read` the host's answer to each question."""
        self._client = client
        self._reader = reader
        self._may_read = may_read

    def get_state(self, username: str, block_key: UsageKey, fields: Collection[str] | None = None) -> State:
        """Return what the learner has in the block, with only `fields` when given; empty where there is nothing.

        Raises `PermissionDenied` where the reader may not see it, also if there is nothing to be seen.
        """
        return self.get_states(username, [block_key], fields).get(block_key, {})

    def get_states(
        self, username: str, block_keys: Iterable[UsageKey], fields: Collection[str] | None = None
    ) -> dict[UsageKey, State]:
        """Return the states of the blocks that have one. One statement.

        Raises `PermissionDenied`, and reads nothing, if the reader may not see one of them.
        """
        keys = list(block_keys)
        for key in keys:
            if not self._may_read(self._reader, username, key):
                raise PermissionDenied(f"{self._reader!r} may not read the state of {username!r} in {key}")
        found = self._client.get_many(username, keys, fields=fields)
        return {each.block_key: each.state or {} for each in found}
