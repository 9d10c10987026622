"""What a call does to a row: overlay, field removal, score, and the next revision.

One `Row` is all that is kept of one learner and block (or of another scope's owner). A `Change` is a list of
edits that is applied to the row as read, once for each attempt to write it. Both clients share this meaning.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, TypeGuard

from xblock_user_state.interface import BlockScore
from xblock_user_state.state.codec import FieldTexts, decode, decode_field, join, split

DELETED = "{}"
"""The text of a state that was there and of which all was deleted; ``None`` is a state that never was."""


class Row(NamedTuple):
    """What is stored for one owner. Times are aware and in UTC."""

    revision: int
    text: str | None
    grade: float | None
    max_grade: float | None
    created: datetime
    modified: datetime
    chain: int = 0
    """The place of the newest history entry in its chain, see `state.encoding`; 0 if there is none to build on."""

    @property
    def score(self) -> BlockScore | None:
        """The score, if there is one."""
        return None if self.grade is None else BlockScore(self.grade, self.max_grade, self.modified)


class Overlay(NamedTuple):
    """Set these fields, keep the others."""

    fields: FieldTexts

    def apply(self, text: str | None) -> str | None:
        """Return the text of the state after the edit. Setting no fields leaves also an absent state as it is."""
        if not self.fields:
            return text
        return join({**split(text), **self.fields} if text else self.fields)


class Removal(NamedTuple):
    """Remove these fields, or all of them."""

    fields: frozenset[str] | None

    def apply(self, text: str | None) -> str | None:
        """Return the text of the state after the edit. A state that never was stays so."""
        if text is None or self.fields is None:
            return text and DELETED
        state = split(text)
        kept = {name: value for name, value in state.items() if name not in self.fields}
        return text if len(kept) == len(state) else join(kept)


class Score(NamedTuple):
    """A learner's score: the points earned, of how many. ``None`` for both is no score."""

    grade: float | None
    max_grade: float | None


_NO_SCORE = Score(None, None)
# The databases keep microseconds.
_TICK = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Change:
    """What one call does to one row: edits of the state in their order, and the new score, if any."""

    edits: tuple[Overlay | Removal, ...] = ()
    score: Score | None = None
    only_new: bool = False
    """Whether a row that is there already, whatever is in it, is to stay as it is."""

    def then(self, later: Change) -> Change:
        """Return this change followed by `later`, as one, for the rows that this one is for."""
        return Change(self.edits + later.edits, later.score or self.score, self.only_new)

    def apply(self, row: Row | None, now: datetime) -> Row | None:
        """Return the row after the change, or ``None`` if it changes nothing.

        The revision counts changes: 1 at creation, plus one for each. ``modified`` is `now`, and always later
        than before, also when the clock stands still or goes back.
        """
        if row and self.only_new:
            return None
        text = row.text if row else None
        for edit in self.edits:
            text = edit.apply(text)
        if row is None:
            score = self.score or _NO_SCORE
            return None if text is None and score == _NO_SCORE else Row(1, text, *score, now, now)
        old_score = (row.grade, row.max_grade)
        grade, max_grade = self.score or old_score
        if text == row.text and (grade, max_grade) == old_score:
            return None
        modified = now if now > row.modified else row.modified + _TICK
        return Row(row.revision + 1, text, grade, max_grade, row.created, modified, row.chain)


def clock() -> datetime:
    """Return the time, which is the same for all changes of a call."""
    return datetime.now(UTC)


def is_state(text: str | None) -> TypeGuard[str]:
    """Tell whether a text is a state: not one that never was, or of which all was deleted."""
    return text is not None and text != DELETED


def existing_state(text: str | None, fields: Iterable[str] | None = None) -> dict[str, Any] | None:
    """Return the state, or those of its `fields` that are set; ``None`` where it never was or all was deleted."""
    if not is_state(text):
        return None
    if fields is None:
        state: dict[str, Any] = decode(text)
        return state
    texts = split(text)
    return {name: decode_field(texts[name]) for name in fields if name in texts}
