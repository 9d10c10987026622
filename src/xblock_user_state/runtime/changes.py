"""What blocks write: the fields and scores of one save, or of one unit of work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from msgspec import Raw

from xblock_user_state.runtime.places import Place
from xblock_user_state.state.change import Score

FieldChanges = Mapping[str, Raw | None]
"""The JSON text that each field is set to; ``None`` for one that is deleted."""


@dataclass(frozen=True)
class Changes:
    """The new fields and scores by their places. The later of two changes of one field is the one that counts."""

    fields: Mapping[Place, FieldChanges] = field(default_factory=dict)
    scores: Mapping[Place, Score] = field(default_factory=dict)

    @property
    def places(self) -> set[Place]:
        """The rows that would change."""
        return {*self.fields, *self.scores}

    def then(self, later: Changes) -> Changes:
        """Return these changes followed by `later`, as one."""
        joined = {place: {**self.fields.get(place, {}), **fields} for place, fields in later.fields.items()}
        return Changes({**self.fields, **joined}, {**self.scores, **later.scores})
