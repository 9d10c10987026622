"""Row addresses: the scope and row of a field, from XBlock's keys, from blocks, or from block classes."""

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

from xblock_user_state.state.keys import LEARNER_SCOPES, RowKey, canonical_key, learner_scope, row_key


class RowAddress(NamedTuple):
    """One row of a learner: all fields of a block in one scope. Two keys of one block have the same address."""

    scope: Scope
    row: RowKey

    def __hash__(self) -> int:
        # Without the scope: its hash is Python code, and few rows of one key have different scopes.
        return hash(self.row)

    @property
    def block_key(self) -> Any:
        """The row's ``block_key`` in calls of a client."""
        return canonical_key(self.row)

    @property
    def is_shared(self) -> bool:
        """Tell whether all learners share the row."""
        return self.scope is Scope.user_state_summary


def address_of(key: KeyValueStore.Key) -> RowAddress:
    """Return the address of a field. Raises ``InvalidScopeError`` unless the field belongs to learners."""
    scope = learner_scope(key.scope)
    if scope is None:
        raise InvalidScopeError(key.scope, LEARNER_SCOPES)
    return _address(scope, key.block_scope_id, key.block_family)


def address_of_field(block: XBlock, scope: Scope) -> RowAddress | None:
    """Return the address of a block's or an aside's fields in a scope; ``None`` if they belong to no learner."""
    own = learner_scope(scope)
    if own is None:
        return None
    ids = block.scope_ids
    return _address(own, ids.block_type if own is Scope.preferences else ids.usage_id, block.entry_point)


def addresses_of_block(block: XBlock) -> Iterator[RowAddress]:
    """Yield the rows of the learner fields that a block or an aside declares."""
    return _declared(type(block), block.scope_ids.usage_id, block.scope_ids.block_type)


def addresses_of_class(usage_key: UsageKey, block_class: type[XBlock]) -> Iterator[RowAddress]:
    """Yield the same without an instance, for the usage key of a block or an aside and its class."""
    block_type = usage_key.aside_type if isinstance(usage_key, AsideUsageKey) else usage_key.block_type
    return _declared(block_class, usage_key, block_type)


def _declared(block_class: type[XBlock], usage_key: UsageKey, block_type: str) -> Iterator[RowAddress]:
    owners = {BlockScope.USAGE: usage_key, BlockScope.TYPE: block_type, BlockScope.ALL: None}
    for scope in _learner_scopes(block_class):  # type: ignore[arg-type]
        yield _address(scope, owners[scope.block], block_class.entry_point)


# A server has as many classes of blocks as types are installed.
@lru_cache(1000)
def _learner_scopes(block_class: type[XBlock]) -> tuple[Scope, ...]:
    declared = {field.scope for field in block_class.fields.values()}
    return tuple(scope for scope in LEARNER_SCOPES if scope in declared)


def _address(scope: Scope, block_scope_id: Any, family: str) -> RowAddress:
    if scope is Scope.preferences:
        return RowAddress(scope, _block_type(family, block_scope_id))
    return RowAddress(scope, row_key(None if scope is Scope.user_info else block_scope_id, scope))


# The family is part of the key, because an XBlock and an aside may have types of the same name. A server has as many
# block types as are installed.
@lru_cache(1000)
def _block_type(family: str, name: str) -> RowKey:
    return row_key(BlockTypeKeyV1(family, name), Scope.preferences)
