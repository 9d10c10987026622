"""Access policies: functions of the host that decide who may read a learner's state."""

from __future__ import annotations

from collections.abc import Callable

from opaque_keys.edx.keys import UsageKey

__all__ = ["MayRead", "only_own"]

MayRead = Callable[[str, str, UsageKey], bool]
"""Returns whether a reader may see a learner's state in a block. Arguments: both usernames, and the block's key."""


def only_own(reader: str, learner: str, block_key: UsageKey) -> bool:
    """Allow learners to read their own state, in any block, and no other state."""
    return reader == learner
