"""The field data of blocks: authored fields, and the learner's."""

from __future__ import annotations

from typing import Any

from xblock.core import XBlock
from xblock.field_data import FieldData, SplitFieldData
from xblock.fields import Scope, ScopeIds
from xblock.runtime import KvsFieldData

from xblock_user_state.runtime.addresses import address_of_field
from xblock_user_state.runtime.kvs import UserStateKeyValueStore
from xblock_user_state.runtime.row_cache import CachedRow
from xblock_user_state.state.codec import decode_field
from xblock_user_state.state.keys import LEARNER_SCOPES

AUTHORED_SCOPES = (Scope.content, Scope.settings, Scope.children, Scope.parent)


def split_field_data(authored: FieldData, learner: FieldData) -> SplitFieldData:
    """Return the field data of blocks: authored scopes from `authored`, the four learner scopes from `learner`."""
    return SplitFieldData(_split(authored, learner))


def _split(authored: FieldData, learner: FieldData) -> dict[Scope, FieldData]:
    return dict.fromkeys(AUTHORED_SCOPES, authored) | dict.fromkeys(LEARNER_SCOPES, learner)


class LearnerFieldData(SplitFieldData):
    """`split_field_data` over a store, with a short way for reads: a page reads some hundred fields.

    XBlock makes a key for each read, twice for a field that has a value, and the store looks up the row of each key.
    Here a row is looked up once for each block and scope.
    """

    def __init__(self, authored: FieldData, store: UserStateKeyValueStore) -> None:
        super().__init__(_split(authored, KvsFieldData(store)))
        self._store = store
        self._find = store._find  # noqa: SLF001 - this class is a part of the store
        # By the address of a block's ids, which the entry holds. A block that is bound to another learner has new ones.
        self._rows: dict[tuple[int, str], tuple[ScopeIds, CachedRow | None]] = {}

    def has(self, block: XBlock, name: str) -> bool:
        row = self._row(block, name)
        return super().has(block, name) if row is None else self._find(row, name) is not None

    def get(self, block: XBlock, name: str) -> Any:
        row = self._row(block, name)
        if row is None:
            return super().get(block, name)
        text = self._find(row, name)
        if text is None:
            raise KeyError(name)
        return decode_field(text)

    def default(self, block: XBlock, name: str) -> Any:
        if self._row(block, name) is None:
            return super().default(block, name)
        # XBlock then takes the field's own default.
        raise KeyError(name)

    def _row(self, block: XBlock, name: str) -> CachedRow | None:
        """Return a field's row; ``None`` for a field that belongs to no learner."""
        ids, scope = block.scope_ids, block.fields[name].scope
        place = id(ids), scope.name
        entry = self._rows.get(place)
        if entry is None:
            entry = self._rows[place] = ids, self._row_of(block, name, scope)
        return entry[1]

    def _row_of(self, block: XBlock, name: str, scope: Scope) -> CachedRow | None:
        address, store = address_of_field(block, scope), self._store
        if address is None:
            return None
        user_id = block.scope_ids.user_id
        if not address.is_shared and not store._is_of(user_id):  # noqa: SLF001 - see above
            raise store._refusal(user_id, f"the field {name!r} of {address.block_key}")  # noqa: SLF001
        return store._row(address)  # noqa: SLF001
