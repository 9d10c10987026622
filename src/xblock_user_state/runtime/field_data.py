"""The field data of blocks: authored fields, and the learner's."""

from __future__ import annotations

from typing import Any

from xblock.core import XBlock
from xblock.field_data import FieldData, SplitFieldData
from xblock.fields import Scope, ScopeIds
from xblock.runtime import KvsFieldData

from xblock_user_state.runtime.addresses import RowAddress, address_of_field
from xblock_user_state.runtime.kvs import UserStateKeyValueStore
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
        self._find, self._check_learner = store._find, store._check_learner  # noqa: SLF001 - a part of the store
        # By the address of a block's ids, which the entry holds. A block that is bound to another learner has new ones.
        self._addresses: dict[tuple[int, str], tuple[ScopeIds, RowAddress | None]] = {}

    def has(self, block: XBlock, name: str) -> bool:
        address = self._address(block, name)
        return super().has(block, name) if address is None else self._find(address, name) is not None

    def get(self, block: XBlock, name: str) -> Any:
        address = self._address(block, name)
        if address is None:
            return super().get(block, name)
        text = self._find(address, name)
        if text is None:
            raise KeyError(name)
        return decode_field(text)

    def default(self, block: XBlock, name: str) -> Any:
        if self._address(block, name) is None:
            return super().default(block, name)
        # XBlock then takes the field's own default.
        raise KeyError(name)

    def _address(self, block: XBlock, name: str) -> RowAddress | None:
        """Return the address of a field's row; ``None`` for a field that belongs to no learner."""
        ids, scope = block.scope_ids, block.fields[name].scope
        place = id(ids), scope.name
        if place not in self._addresses:
            self._addresses[place] = ids, self._found(block, name, scope)
        return self._addresses[place][1]

    def _found(self, block: XBlock, name: str, scope: Scope) -> RowAddress | None:
        address = address_of_field(block, scope)
        if address is not None and not address.is_shared:
            self._check_learner(block.scope_ids.user_id, f"the field {name!r} of {address.block_key}")
        return address
