"""The row cache of a key-value store: the rows that it has read, with its own writes over them."""

from __future__ import annotations

from msgspec import Raw

from xblock_user_state.interface import EncodedState
from xblock_user_state.runtime.addresses import RowAddress
from xblock_user_state.runtime.changes import FieldChanges
from xblock_user_state.state.codec import FieldTexts, NotAState, split

_NO_ROW = EncodedState(None, 0)


class CachedRow:
    """One row as this request sees it. The text is split when a field is first read; no value is decoded."""

    def __init__(self, address: RowAddress, written: FieldChanges) -> None:
        """`written` are fields from an earlier request of a masquerade, which cover the stored ones."""
        self.address = address
        self._begin(written)

    def forget(self) -> None:
        """Forget what was read and written, so that the row is read again."""
        self._begin({})

    def _begin(self, written: FieldChanges) -> None:
        self._written = {**written}
        self.was_read = False
        # As it was read: 0 where there was no row, None before the read. Guarded commits move it on.
        self.revision: int | None = None
        # A block has used a stored field, so a later write may depend on it.
        self.was_used = False
        # The request has written the row, and does not know the revision of its fields.
        self.is_outdated = False
        # A commit of fields has replaced the text, if it was no state.
        self.was_replaced = False
        self._text: str | None = None
        self._fields: FieldTexts | None = None

    def knows(self, name: str) -> bool:
        """Tell whether `get` can answer for this field without a read."""
        return self.was_read or name in self._written

    def get(self, name: str) -> Raw | None:
        """Return the text of a field that the row `knows`; ``None`` for an absent field. Raises `NotAState`."""
        if name in self._written:
            return self._written[name]
        # Late, because many prefetched rows are never read.
        if self._fields is None:
            self._fields = self._split()
        return self._fields.get(name)

    def _split(self) -> FieldTexts:
        try:
            return {} if self._text is None else split(self._text)
        except NotAState:
            if self.was_replaced:
                return {}
            raise

    def read(self, stored: EncodedState | None) -> None:
        """Keep the stored text and revision; ``None`` where there is no row."""
        self.was_read = True
        self._text, self.revision = stored or _NO_ROW

    def write(self, fields: FieldChanges) -> None:
        """Keep fields that were written. They cover the stored text, also if that is read later."""
        self._written.update(fields)

    def follow(self, fields: FieldChanges, *, guarded: bool) -> None:
        """Move the revision on after a commit of these fields, before `write`; empty for a score alone.

        `guarded` tells that the commit named the revision, so no other write came between.
        """
        # Texts that differ are a change for sure. Equal ones may be none, and the score is not known here.
        if guarded and self.revision is not None and any(self.get(name) != text for name, text in fields.items()):
            self.revision += 1
        else:
            self.is_outdated = True
