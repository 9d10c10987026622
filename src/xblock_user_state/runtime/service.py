"""The XBlock service ``user_state``, for blocks that read the state of other blocks or other learners."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any

from opaque_keys import InvalidKeyError
from opaque_keys.edx.keys import UsageKey

from xblock_user_state.access import OWN_STATE, Action, Policy, Question, ask
from xblock_user_state.interface import State, XBlockUserStateClient
from xblock_user_state.metrics.access import report_access
from xblock_user_state.state.keys import BlockId, checked_block, context_of, parse_block


def _same_name(username: str) -> str:
    return username


class UserStateService:
    """Reads ``user_state`` on behalf of a reader, the user who views the page, as far as a policy lets them.

    Hosts put it among the services of their runtime under ``user_state``; blocks declare
    ``@XBlock.needs("user_state")``. It reads committed state: changes that a block of the same page has not saved yet
    are not in it. A visitor without an account has the username ``""``.
    """

    def __init__(
        self,
        client: XBlockUserStateClient,
        reader: Any,
        policy: Policy = OWN_STATE,
        *,
        username_of: Callable[[str], str | None] = _same_name,
    ) -> None:
        """`reader` is the user who views the page, or their username; `policy` is asked whether they may read.

        `username_of` returns the username for a username or an e-mail address, or ``None`` for nobody. Only
        `get_state_as_dict` calls it. By default, it knows usernames only.
        """
        self._client = client
        self._reader = reader
        self._policy = policy
        self._username_of = username_of

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
            self._ask(username, checked_block(key))
        found = self._client.get_many(username, keys, fields=fields)
        return {each.block_key: each.state or {} for each in found}

    def get_state_as_dict(self, username_or_email: str | None, block_id: UsageKey | str) -> State:
        """Return the state as Open edX's service of this name does, which some of its blocks call.

        `block_id` is a usage key or its text. The state is empty where there is none, for an unknown user, and for a
        text that is no key or names no course run. Unlike Open edX's, this service asks the policy: it raises
        `PermissionDenied` where the reader may not see the state, also for an unknown user.
        """
        key = _key_of(block_id)
        if username_or_email is None or key is None:
            return {}
        # The policy is asked about an unknown name too: a refusal must not depend on the account.
        return self.get_state(self._username_of(username_or_email) or username_or_email, key)

    def _ask(self, username: str, block: BlockId) -> None:
        key = parse_block(block.context_key, block.usage_key)
        ask(self._policy, Question(self._reader, Action.READ, username, context_of(key), key), report_access)


def _key_of(block_id: UsageKey | str) -> UsageKey | None:
    """Return the usage key; ``None`` for a key that can't have state."""
    try:
        key = UsageKey.from_string(block_id) if isinstance(block_id, str) else block_id
        checked_block(key)
    except (InvalidKeyError, ValueError):
        return None
    return key
