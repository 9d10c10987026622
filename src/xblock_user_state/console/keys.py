"""Keys of courses and blocks in addresses. A text that is no key is a 404."""

from __future__ import annotations

from django.http import Http404
from opaque_keys import InvalidKeyError
from opaque_keys.edx.keys import LearningContextKey, UsageKey

from xblock_user_state.state.keys import BlockId, identify_block, identify_context, parse_block
from xblock_user_state.store.databases import state_database
from xblock_user_state.store.models import Block
from xblock_user_state.store.transactions import errors_translated

BLOCKS = 5_000
"""Blocks of a course that a page looks at."""


def course_of(text: str) -> LearningContextKey:
    """Return the key of a course or library."""
    try:
        key: LearningContextKey = LearningContextKey.from_string(text)
        identify_context(key)
    except (InvalidKeyError, ValueError) as error:
        raise Http404 from error
    return key


def block_of(course: str, block: str) -> tuple[UsageKey, BlockId]:
    """Return the key of a block in a course, and its ids."""
    try:
        key = parse_block(course, block)
        return key, identify_block(key)
    except ValueError as error:
        raise Http404 from error


def blocks_in(course: LearningContextKey, most: int | None = BLOCKS) -> dict[int, UsageKey]:
    """Return the keys of the registered blocks by id. One statement."""
    database = state_database()
    blocks = Block.objects.using(database).filter(context_id=identify_context(course)).order_by("id")
    keys = {}
    with errors_translated(database):
        for id_, text in blocks.values_list("id", "usage_key")[:most]:
            try:
                keys[id_] = parse_block(str(course), text)
            except ValueError:
                # Restored or imported rows may have texts of no key.
                continue
    return keys
