"""Changes of a row to the values that code has assigned to an instance of its model.

State is compared field by field with the loaded text, so a change writes and removes only the fields that the code has
changed: a stale instance takes back nothing.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from xblock_user_state.state.change import Change, Overlay, Removal, Row, Score
from xblock_user_state.state.codec import FieldTexts, decode, encode_fields, join


class RowExists(Exception):
    """There is a row already."""


class RowIsGone(Exception):
    """There is no such row, or not the one that was loaded."""


@dataclass(frozen=True, slots=True)
class Creation(Change):
    """Insert a row, also without state and score. Raises `RowExists` if there is one."""

    text: str | None = None

    def apply(self, row: Row | None, now: datetime) -> Row:
        """Return the new row."""
        if row is not None:
            raise RowExists
        return Row(1, self.text, *(self.score or Score(None, None)), now, now)


@dataclass(frozen=True, slots=True)
class Update(Change):
    """Change a row that exists. Raises `RowIsGone` if there is none."""

    points: Mapping[str, float | None] = field(default_factory=dict)
    """New values of ``grade`` and ``max_grade``, or of one of them."""
    created: datetime | None = None
    """The row's time of creation, where it is known: a row that was deleted and created again is another one."""

    def apply(self, row: Row | None, now: datetime) -> Row | None:
        """Return the row after the change, or ``None`` if it changes nothing."""
        if row is None or self.created not in (None, row.created):
            raise RowIsGone
        score = Score(row.grade, row.max_grade)._replace(**self.points)
        # Only the grade was taken away, so its maximum goes too. A maximum that is named stays without a grade.
        if self.points.get("grade", 0) is None and "max_grade" not in self.points:
            score = Score(None, None)
        return Change(self.edits, score).apply(row, now)


def checked_text(text: object, owner: object) -> str | None:
    """Return a text that a caller has assigned as the store writes it. `owner` is named in errors."""
    return None if text is None else join(checked_fields(text, owner))


def checked_fields(text: object, owner: object) -> FieldTexts:
    """Return the fields of a JSON text, as the store writes them.

    Raises ``TypeError`` if it is no text, and ``ValueError`` if it is no text of a JSON object.
    """
    if not isinstance(text, str):
        raise TypeError(f"the state of {owner} must be a JSON text, not a {type(text).__name__}; use json.dumps")
    try:
        value = decode(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the state of {owner} is not JSON: {error}") from error
    if not isinstance(value, dict):
        # The text is wrong, not its type.
        raise ValueError(  # noqa: TRY004
            f"the state of {owner} must be a JSON object of fields, not {reprlib.repr(text)}"
        )
    return encode_fields(value, owner)


def edits_between(before: str | None, after: object, owner: object) -> tuple[Overlay | Removal, ...]:
    """Return the edits that make the fields of a loaded text those of an assigned one; none if they are the same.

    ``None`` has no fields. Raises as `checked_fields` for `after`.
    """
    if after == before:
        return ()
    new = {} if after is None else checked_fields(after, owner)
    try:
        old = {} if before is None else checked_fields(before, owner)
    except ValueError:
        # SQL may have stored any text. This is how to mend it.
        return replacement(after, owner)
    changed = {name: text for name, text in new.items() if name not in old or bytes(text) != bytes(old[name])}
    removed = frozenset(old.keys() - new.keys())
    return (*([Overlay(changed)] if changed else []), *([Removal(removed)] if removed else []))


def replacement(text: object, owner: object) -> tuple[Overlay | Removal, ...]:
    """Return the edits that make any state have the fields of an assigned text, and no others."""
    return Removal(None), Overlay({} if text is None else checked_fields(text, owner))
