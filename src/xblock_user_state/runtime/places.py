"""Where a field is kept: which row of which scope, told from XBlock's keys, from blocks, or from classes of blocks."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from opaque_keys.edx.block_types import BlockTypeKeyV1
from opaque_keys.edx.keys import AsideUsageKey, UsageKey
from xblock.core import XBlock
from xblock.exceptions import InvalidScopeError
from xblock.fields import BlockScope, Scope
from xblock.runtime import KeyValueStore

from xblock_user_state.state.keys import LEARNER_SCOPES, RowKey, canonical_key, row_key


class Place(NamedTuple):
    """One row of a learner: all fields of a block in one scope. Two keys of one block name the same place."""

    scope: Scope
    row: RowKey

    @property
    def block_key(self) -> Any:
        """What a client calls this place, beside the scope."""
        return canonical_key(self.row)


def place_of(key: KeyValueStore.Key) -> Place:
    """Return the place of a field. ``InvalidScopeError`` for a field that is not a learner's."""
    if key.scope not in LEARNER_SCOPES:
        raise InvalidScopeError(key.scope, LEARNER_SCOPES)
    return _place(key.scope, key.block_scope_id, key.block_family)


def places_of_block(block: XBlock) -> Iterator[Place]:
    """Yield where a block or an aside keeps the learners' fields that it declares."""
    return _declared(type(block), block.scope_ids.usage_id, block.scope_ids.block_type)


def places_of_class(usage_key: UsageKey, block_class: type[XBlock]) -> Iterator[Place]:
    """Yield the same of a block that was not made: from its key, or an aside's, and its class."""
    block_type = usage_key.aside_type if isinstance(usage_key, AsideUsageKey) else usage_key.block_type
    return _declared(block_class, usage_key, block_type)


def _declared(block_class: type[XBlock], usage_key: UsageKey, block_type: str) -> Iterator[Place]:
    owners = {BlockScope.USAGE: usage_key, BlockScope.TYPE: block_type, BlockScope.ALL: None}
    declared = {field.scope for field in block_class.fields.values()}
    for scope in LEARNER_SCOPES:
        if scope in declared:
            yield _place(scope, owners[scope.block], block_class.entry_point)


def _place(scope: Scope, block_scope_id: Any, family: str) -> Place:
    if scope == Scope.preferences:
        return Place(scope, _block_type(family, block_scope_id))
    return Place(scope, row_key(None if scope == Scope.user_info else block_scope_id, scope))


# An XBlock and an aside may have types of one name; a server has as many types as are installed.
@lru_cache(1000)
def _block_type(family: str, name: str) -> RowKey:
    return row_key(BlockTypeKeyV1(family, name), Scope.preferences)
