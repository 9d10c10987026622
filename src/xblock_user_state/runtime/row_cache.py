"""What a store knows of a row: its text once it was read, and what has been written over it since."""

from __future__ import annotations

from msgspec import Raw

from xblock_user_state.runtime.changes import FieldChanges
from xblock_user_state.state.codec import FieldTexts, split


class CachedRow:
    """One row as this request sees it. Its text is split when a field is first asked for, and no value is decoded."""

    def __init__(self, written: FieldChanges) -> None:
        """`written` are fields that count whatever is stored, as of an earlier request of a masquerade."""
        self.was_read = False
        self._text: str | None = None
        self._fields: FieldTexts | None = None
        self._written = {**written}

    def knows(self, name: str) -> bool:
        """Tell whether it is known what the field is, or that it is absent."""
        return self.was_read or name in self._written

    def get(self, name: str) -> Raw | None:
        """Return the text of a known field; ``None`` for an absent one."""
        if name in self._written:
            return self._written[name]
        if self._fields is None:
            self._fields = split(self._text) if self._text else {}
        return self._fields.get(name)

    def read(self, text: str | None) -> None:
        """Take note of what is stored; ``None`` where there is no state."""
        self.was_read = True
        self._text = text

    def write(self, fields: FieldChanges) -> None:
        """Take note of fields that were written, over what was read or is still to be read."""
        self._written.update(fields)
