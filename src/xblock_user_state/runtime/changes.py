"""Changes that blocks make: the fields and scores of one save or of one unit of work."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from msgspec import Raw
from xblock.fields import Scope

from xblock_user_state.interface import BlockScore
from xblock_user_state.runtime.addresses import RowAddress

FieldChanges = Mapping[str, Raw | None]
"""The new JSON text of each field; ``None`` for a deleted field."""


@dataclass(frozen=True)
class Changes:
    """New fields and scores by row. Of two changes of one field, the later one counts."""

    fields: Mapping[RowAddress, FieldChanges] = field(default_factory=dict)
    scores: Mapping[RowAddress, BlockScore] = field(default_factory=dict)
    """New scores, with the times that were given to callers. The commit has its own time, which is not earlier."""

    @property
    def addresses(self) -> set[RowAddress]:
        """The changed rows."""
        return {*self.fields, *self.scores}

    def block_keys(self) -> dict[Scope, list[Any]]:
        """Return the keys of the changed rows by scope, as calls of a client take them."""
        keys: dict[Scope, list[Any]] = {}
        for address in self.addresses:
            keys.setdefault(address.scope, []).append(address.block_key)
        return keys

    def then(self, later: Changes) -> Changes:
        """Return these changes and the `later` ones as one."""
        # Merged field by field: the later change may name other fields of the row.
        joined = {address: {**self.fields.get(address, {}), **fields} for address, fields in later.fields.items()}
        return Changes({**self.fields, **joined}, {**self.scores, **later.scores})

    def parted(self, addresses: Collection[RowAddress]) -> tuple[Changes, Changes]:
        """Return the changed fields of these rows, and all other changes."""
        taken = {address: fields for address, fields in self.fields.items() if address in addresses}
        left = {address: fields for address, fields in self.fields.items() if address not in addresses}
        return Changes(taken), Changes(left, self.scores)
