"""Keys of courses and blocks in addresses. A text that is no key is a 404."""

from __future__ import annotations

from django.http import Http404
from opaque_keys import InvalidKeyError
from opaque_keys.edx.keys import LearningContextKey, UsageKey

from xblock_user_state.state.keys import BlockId, identify_block, identify_context, parse_block


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
