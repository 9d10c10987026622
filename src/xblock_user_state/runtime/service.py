"""The XBlock service ``user_state``, for blocks that read the state of other blocks or other learners."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from opaque_keys.edx.keys import UsageKey

from xblock_user_state.access import MayRead, only_own
from xblock_user_state.interface import PermissionDenied, State, XBlockUserStateClient


class UserStateService:
    """Reads ``user_state`` on behalf of a reader, the user who views the page, as far as a policy lets them.

    Hosts put it among the services of their runtime under ``user_state``; blocks declare
    ``@XBlock.needs("user_state")``. It reads committed state: changes that a block of the same page has not saved yet
    are not in it. A visitor without an account has the username ``""``.
    """

    def __init__(self, client: XBlockUserStateClient, reader: str, may_read: MayRead = only_own) -> None:
        """`reader` is the username of the user who views the page; `may_read` is the host's policy."""
        self._client = client
        self._reader = reader
        self._may_read = may_read

    def get_state(self, username: str, block_key: UsageKey, fields: Collection[str] | None = None) -> State:
        """Return the learner's state in the block, with only `fields` when given; empty where there is none.

        Raises `PermissionDenied` where the reader may not see it, also if there is none.
        """
        return self.get_states(username, [block_key], fields).get(block_key, {})

    def get_states(
        self, username: str, block_keys: Iterable[UsageKey], fields: Collection[str] | None = None
    ) -> dict[UsageKey, State]:
        """Return the states of the blocks that have one. One statement.

        Raises `PermissionDenied`, and reads nothing, if the reader may not see one of them.
        """
        keys = list(block_keys)
        # All of them before the read: a refusal must not depend on the state.
        for key in keys:
            if not self._may_read(self._reader, username, key):
                raise PermissionDenied(f"{self._reader!r} may not read the state of {username!r} in {key}")
        found = self._client.get_many(username, keys, fields=fields)
        return {each.block_key: each.state or {} for each in found}
