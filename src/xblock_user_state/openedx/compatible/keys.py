"""The block of a row that names it by a usage key and a course key, as the platform's code does."""

from __future__ import annotations

from typing import Any

from opaque_keys.edx.keys import CourseKey, LearningContextKey, UsageKey

from xblock_user_state.state.keys import BlockId, checked_block


def block_of(usage_key: Any, course_key: Any) -> BlockId:
    """Return the block that a usage key names in a course.

    The course adds the run that an old-style key lacks. Raises ``TypeError`` or ``ValueError`` if the key is none,
    can't be stored, or is the key of a block in another course.
    """
    if not isinstance(course_key, LearningContextKey):
        raise TypeError(f"course_id must be the key of a course or library, not {course_key!r}")
    is_old = isinstance(usage_key, UsageKey) and getattr(usage_key.context_key, "run", "") is None
    if is_old and isinstance(course_key, CourseKey):
        usage_key = usage_key.map_into_course(course_key)
    block = checked_block(usage_key)
    if block.context_key != str(course_key):
        raise ValueError(f"{usage_key} is a block of {block.context_key}, not of {course_key}")
    return block
