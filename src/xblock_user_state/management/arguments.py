"""What several commands take, checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandError
from opaque_keys import InvalidKeyError
from opaque_keys.edx.keys import LearningContextKey

from xblock_user_state.state.keys import identify_context
from xblock_user_state.store.iteration import blocks_of


def at_least_one(options: Mapping[str, Any], name: str) -> int:
    """Return the number that an option has, which must be 1 or more."""
    number: int = options[name]
    if number < 1:
        raise CommandError(f"--{name} is {number}; it must be 1 or more")
    return number


def blocks_of_context(database: str, key: str) -> list[int]:
    """Return the ids, sorted, of the blocks that are registered of a course run or library, one at least.

    One statement. A key that was misspelt must not pass as one of which all is well.
    """
    try:
        context_id = identify_context(LearningContextKey.from_string(key))
    except (InvalidKeyError, ValueError) as error:
        raise CommandError(f"{key!r} is no key of a course run or library") from error
    block_ids = sorted(blocks_of(database, context_id, None))
    if not block_ids:
        raise CommandError(f"no learner has ever had state in {key!r}; is it spelt right?")
    return block_ids
