"""Ids of blocks and asides for hosts that name their blocks by opaque keys."""

from __future__ import annotations

import hashlib
from functools import lru_cache

from opaque_keys.edx.asides import AsideDefinitionKeyV2, AsideUsageKeyV2
from opaque_keys.edx.keys import AsideUsageKey, UsageKey
from opaque_keys.edx.locator import DefinitionLocator
from xblock.exceptions import NoSuchUsage
from xblock.runtime import IdGenerator, IdReader


class UsageKeyIds(IdReader, IdGenerator):
    """Answers XBlock's questions about ids from the usage key alone. It stores nothing.

    The authors of a course name its blocks, so it generates no ids of blocks. A host that knows its blocks overrides
    `get_definition_id`, and raises ``NoSuchUsage`` for a key that no block has.
    """

    def get_definition_id(self, usage_id: UsageKey) -> DefinitionLocator:
        # An aside is no block; keys of asides come in addresses of handlers too.
        if isinstance(usage_id, AsideUsageKey):
            raise NoSuchUsage(str(usage_id))
        return _definition_id(usage_id)

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
        raise NotImplementedError("the authors of a course name its blocks")


# XBlock asks several times for each block of a page. A large course has some thousand blocks.
@lru_cache(4_000)
def _definition_id(usage_id: UsageKey) -> DefinitionLocator:
    # A DefinitionLocator takes a MongoDB ObjectId: 12 bytes.
    digest = hashlib.blake2b(str(usage_id).encode(), digest_size=12).hexdigest()
    return DefinitionLocator(usage_id.block_type, digest)
