"""Ids of the course's blocks: opaque keys made from names, so they stay the same after a restart."""

from __future__ import annotations

from opaque_keys.edx.keys import UsageKey
from opaque_keys.edx.locator import CourseLocator, DefinitionLocator
from xblock.exceptions import NoSuchUsage

from xblock_user_state.runtime import UsageKeyIds


class CourseIds(UsageKeyIds):
    """Computes the ids that XBlock asks for from the keys alone. It stores only the set of existing usages.

    The course's authors name each block (`usage`). Generated ids would change when the content is edited and loaded
    again, and learners would lose their state.
    """

    def __init__(self, course_key: CourseLocator) -> None:
        self.course_key = course_key
        self._usages: set[UsageKey] = set()

    def usage(self, block_type: str, name: str) -> UsageKey:
        """Return the key of a new block. Raises ``ValueError`` if a block of this type already has the name."""
        key = self.course_key.make_usage_key(block_type, name)
        if key in self._usages:
            raise ValueError(f"two blocks of the course are called {name!r} ({block_type})")
        self._usages.add(key)
        return key

    def get_definition_id(self, usage_id: UsageKey) -> DefinitionLocator:
        if usage_id not in self._usages:
            raise NoSuchUsage(str(usage_id))
        return super().get_definition_id(usage_id)
