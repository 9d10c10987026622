"""Access policies: may this reader see that learner's state in a block? The host decides."""

from __future__ import annotations

from collections.abc import Callable

from opaque_keys.edx.keys import UsageKey

MayRead = Callable[[str, str, UsageKey], bool]
"""Answers whether the reader may see what the learner did in the block; both are usernames."""


def only_own(reader: str, learner: str, block_key: UsageKey) -> bool:
    """Let everybody read their own state in any block, and nobody else's."""
    return reader == learner
