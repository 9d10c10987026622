"""The caches of `FieldDataCache`: one a scope, over this store.

As in the platform a field that is neither prefetched nor written is absent; no statement looks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from opaque_keys.edx.asides import AsideUsageKeyV1, AsideUsageKeyV2
from xblock.core import XBlockAside
from xblock.fields import BlockScope, Scope
from xblock.runtime import KeyValueStore

from xblock_user_state.interface import DoesNotExist
from xblock_user_state.openedx.platform.learners import StoreFinder, store_of_visitor
from xblock_user_state.openedx.platform.stages import site_stage, stage_of
from xblock_user_state.runtime import UserStateKeyValueStore
from xblock_user_state.runtime.addresses import RowAddress, address_of


class ScopeCache:
    """The fields of one scope that a request has prefetched or written."""

    def __init__(self, scope: Scope, store: Callable[[], UserStateKeyValueStore]) -> None:
        """`store` returns the learner's store; inside a unit of work it is the unit's."""
        self._scope = scope
        self._store = store
        self._known: set[RowAddress] = set()

    def cache_fields(self, fields: Collection[Any], xblocks: Iterable[Any], aside_types: Collection[str]) -> None:
        """Read the rows of blocks and their asides: one statement. `fields` are the declared ones of the scope."""
        if fields:
            rows = {*_addresses(self._scope, xblocks, aside_types)}
            self._store().prefetch_rows(self._scope, [address.block_key for address in rows])
            self._known |= rows

    def get(self, key: KeyValueStore.Key) -> Any:
        """Return a field's value. Raises ``KeyError`` if there is none."""
        if address_of(key) not in self._known:
            raise KeyError(key.field_name)
        return self._store().get(key)

    def has(self, key: KeyValueStore.Key) -> bool:
        """Tell whether a field has a value."""
        return address_of(key) in self._known and self._store().has(key)

    def set(self, key: KeyValueStore.Key, value: Any) -> None:
        """Write one field."""
        self.set_many({key: value})

    def set_many(self, values: Mapping[KeyValueStore.Key, Any]) -> None:
        """Write all fields at once, or collect them for the unit of work. A failure is a `KeyValueMultiSaveError`."""
        self._store().set_many(values)
        self._known |= {address_of(key) for key in values}

    def delete(self, key: KeyValueStore.Key) -> None:
        """Remove a field. Raises ``KeyError`` if there is none."""
        if address_of(key) not in self._known:
            raise KeyError(key.field_name)
        self._store().delete(key)

    def last_modified(self, key: KeyValueStore.Key) -> datetime | None:
        """Return the time after which the field did not change; ``None`` without a row. One statement."""
        store = self._store()
        try:
            return store.client.get(store.username, address_of(key).block_key, self._scope).updated
        except DoesNotExist:
            return None

    def __len__(self) -> int:
        return len(self._known)


def caches_of(
    original: Callable[..., None], cache: Any, blocks: Any, course_id: Any, user: Any, **options: Any
) -> None:
    """Make a `FieldDataCache`, with caches of this store for the scopes that it serves."""
    # Without blocks the platform makes its own caches and reads nothing.
    original(cache, [], course_id, user, **options)
    of_course = stage_of(course_id).is_served_here
    of_learner = site_stage().is_served_here
    served = {
        Scope.user_state: of_course,
        Scope.user_state_summary: of_course,
        Scope.preferences: of_learner,
        Scope.user_info: of_learner,
    }
    of_account = StoreFinder(user.pk)
    for scope in (scope for scope, here in served.items() if here):
        store = of_account if user.is_authenticated else _visitors(user, scope)
        cache.cache[scope] = ScopeCache(scope, store)
    cache.add_blocks_to_cache(blocks)


def _visitors(user: Any, scope: Scope) -> Callable[[], UserStateKeyValueStore]:
    # What belongs to a visitor is dropped, as the platform does; what all learners share is not.
    store = store_of_visitor(user, read_only=scope != Scope.user_state_summary)
    return lambda: store


def _addresses(scope: Scope, xblocks: Iterable[Any], aside_types: Collection[str]) -> Iterator[RowAddress]:
    if scope.block == BlockScope.ALL:
        yield RowAddress(scope, None)
        return
    for block in xblocks:
        usage_key, block_type = block.scope_ids.usage_id, block.scope_ids.block_type
        yield _address(scope, usage_key, block_type, block.entry_point)
        for aside_type in aside_types:
            for aside in (AsideUsageKeyV1, AsideUsageKeyV2):
                yield _address(scope, aside(usage_key, aside_type), aside_type, XBlockAside.entry_point)


def _address(scope: Scope, usage_key: Any, block_type: str, family: str) -> RowAddress:
    owner = block_type if scope.block == BlockScope.TYPE else usage_key
    return address_of(KeyValueStore.Key(scope, None, owner, "", family))
