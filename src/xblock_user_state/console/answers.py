"""States in the words of their blocks, which are code of the host."""

from __future__ import annotations

import logging
from datetime import datetime

from opaque_keys.edx.keys import UsageKey
from xblock.fields import Scope

from xblock_user_state.console.changes import printable
from xblock_user_state.console.hosts import Describe
from xblock_user_state.interface import State, XBlockUserState

_LOG = logging.getLogger("xblock_user_state.console")

Words = list[dict[str, str]]


def in_words(describe: Describe | None, username: str, key: UsageKey, state: State | None, moment: datetime) -> Words:
    """Return the answers of a state in words. A state that the block can't read never takes a page down."""
    if describe is None or not state:
        return []
    try:
        found = describe(XBlockUserState(username, key, state, moment, Scope.user_state))
        return [{printable(name): printable(value) for name, value in each.items()} for each in found]
    except Exception as error:  # noqa: BLE001 (the words are the host's code; the page shows the exception)
        _LOG.warning("a state of %r in %s can't be put into words", username, key, exc_info=True)
        return [{"": f"{type(error).__name__}: {printable(error)}"}]
