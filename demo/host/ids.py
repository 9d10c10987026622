"""Ids of the course's blocks: opaque keys made from names, so they stay the same after a restart."""

from __future__ import annotations

import hashlib

from opaque_keys.edx.asides import AsideDefinitionKeyV2, AsideUsageKeyV2
from opaque_keys.edx.keys import UsageKey
from opaque_keys.edx.locator import CourseLocator, DefinitionLocator
from xblock.exceptions import NoSuchUsage
from xblock.runtime import IdGenerator, IdReader


class CourseIds(IdReader, IdGenerator):
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
        # A DefinitionLocator takes a MongoDB ObjectId: 12 bytes.
        digest = hashlib.blake2b(str(usage_id).encode(), digest_size=12).hexdigest()
        return DefinitionLocator(usage_id.block_type, digest)

    def get_block_type(self, def_id: DefinitionLocator) -> str:
        return str(def_id.block_type)

    def create_aside(
        self, definition_id: DefinitionLocator, usage_id: UsageKey, aside_type: str
    ) -> tuple[AsideDefinitionKeyV2, AsideUsageKeyV2]:
        return AsideDefinitionKeyV2(definition_id, aside_type), AsideUsageKeyV2(usage_id, aside_type)

    def get_usage_id_from_aside(self, aside_id: AsideUsageKeyV2) -> UsageKey:
        return aside_id.usage_key

    def get_definition_id_from_aside(self, aside_id: AsideDefinitionKeyV2) -> DefinitionLocator:
        return aside_id.definition_key

    def get_aside_type_from_usage(self, aside_id: AsideUsageKeyV2) -> str:
        return str(aside_id.aside_type)

    def get_aside_type_from_definition(self, aside_id: AsideDefinitionKeyV2) -> str:
        return str(aside_id.aside_type)

    def create_definition(self, block_type: str, slug: str | None = None) -> DefinitionLocator:
        raise NotImplementedError("definition ids are computed from usage ids, see get_definition_id")

    def create_usage(self, def_id: DefinitionLocator) -> UsageKey:
        raise NotImplementedError("the course's authors name the blocks, see usage")
