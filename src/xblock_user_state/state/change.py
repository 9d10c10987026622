"""Rows and their changes: conditions, overlay, removal of fields, score, and the next revision.

A `Row` holds the stored values of one learner and block, or of another scope's owner. A `Change` holds the edits of one
call, and perhaps a `Condition`. It is checked and applied to the row as read, again at each retry. All clients share
these rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, Self, TypeGuard

from xblock.fields import Scope

from xblock_user_state.interface import BlockKey, BlockScore, Conflict, ConflictingRow, DamagedState, Learner
from xblock_user_state.state.codec import FieldTexts, NotAState, decode_field, decode_state, join, split
from xblock_user_state.state.keys import RowKey

DELETED = "{}"
"""The text of a state whose fields were all deleted. A state that never existed is ``None``."""


class Row(NamedTuple):
    """The stored values of one owner. Times are aware and in UTC."""

    revision: int
    text: str | None
    grade: float | None
    max_grade: float | None
    created: datetime
    modified: datetime
    chain: int = 0
    """The newest history entry's position in its chain of deltas (`history.encoding`); 0 if there is none."""
    checksum: int | None = None
    """The checksum of the newest history entry (`history.encoding`); ``None`` if there is none."""

    @property
    def score(self) -> BlockScore | None:
        """The score, if there is one."""
        return score_of(self.grade, self.max_grade, self.modified, self.created)


class Overlay(NamedTuple):
    """Sets these fields and keeps the others."""

    fields: FieldTexts

    def apply(self, text: str | None) -> str | None:
        """Return the text of the state after the edit. An overlay of no fields creates no state."""
        if not self.fields:
            return text
        return join(self.fields if text is None else {**split(text), **self.fields})


class Removal(NamedTuple):
    """Removes these fields, or all fields."""

    fields: frozenset[str] | None

    def apply(self, text: str | None) -> str | None:
        """Return the text of the state after the edit. A state that never existed stays ``None``."""
        if text is None or self.fields is None:
            # A state that never existed has nothing to delete.
            return None if text is None else DELETED
        state = split(text)
        kept = {name: value for name, value in state.items() if name not in self.fields}
        # Joining could write the same fields in another way, which would be a change.
        return text if len(kept) == len(state) else join(kept)


class Replacement(NamedTuple):
    """Makes the text of the state exactly this one, and makes the row if there is none."""

    text: str | None

    def apply(self, _: str | None) -> str | None:
        """Return the text of the state after the edit."""
        return self.text


Edit = Overlay | Removal | Replacement


class Score(NamedTuple):
    """A learner's points and the maximum. ``None`` for both is no score; a maximum without points is kept."""

    grade: float | None
    max_grade: float | None


class Condition(NamedTuple):
    """The revision that a row must have for its change; 0 if there must be no row."""

    block_key: Any
    """The caller's key, for the error."""
    revision: int
    created: datetime | None = None
    """The row's time of creation, where it is known: a row that was created again may have the same revision."""

    def holds(self, row: Row | None) -> bool:
        """Tell whether the row is as the caller expects it."""
        if row is None:
            return self.revision == 0
        return self.revision == row.revision and self.created in (None, row.created)


_NO_SCORE = Score(None, None)
TICK = timedelta(microseconds=1)
"""The resolution of times in the databases."""


@dataclass(frozen=True, slots=True)
class Change:
    """The change of one row by one call: edits of the state in order, and the new score, if any."""

    edits: tuple[Edit, ...] = ()
    score: Score | None = None
    only_new: bool = False
    """Insert only: leave existing rows alone."""
    condition: Condition | None = None

    @property
    def only_deletes_all(self) -> bool:
        """Tell whether the change deletes all fields and nothing else, for which the stored text need not be known."""
        return (
            len(self.edits) == 1
            and isinstance(self.edits[0], Removal)
            and self.edits[0].fields is None
            and self.score is None
        )

    def then(self, later: Change) -> Change:
        """Return this change followed by `later` as one, with this one's `only_new` and condition."""
        # A score is a tuple and therefore true, also the one that removes a score.
        return Change(self.edits + later.edits, later.score or self.score, self.only_new, self.condition)

    def after_deletion(self) -> Self:
        """Return the change that first deletes all fields: for a text that has none, because it is no state."""
        return replace(self, edits=(Removal(None), *self.edits))

    def apply(self, row: Row | None, now: datetime) -> Row | None:
        """Return the row after the change, or ``None`` if it changes nothing.

        Raises `NotAState` if the text of the row is no state, unless the first edit deletes all fields. The revision is
        1 at creation, plus one for each change. ``modified`` is `now`, but always later than before, even if the clock
        stands still or goes back.
        """
        if row and self.only_new:
            return None
        text = row.text if row else None
        for edit in self.edits:
            text = edit.apply(text)
        if row is None:
            score = self.score or _NO_SCORE
            makes_row = text is not None or score != _NO_SCORE or any(isinstance(e, Replacement) for e in self.edits)
            return Row(1, text, *score, now, now) if makes_row else None
        old_score = (row.grade, row.max_grade)
        grade, max_grade = self.score or old_score
        if text == row.text and (grade, max_grade) == old_score:
            return None
        modified = now if now > row.modified else row.modified + TICK
        return Row(row.revision + 1, text, grade, max_grade, row.created, modified, row.chain, row.checksum)


Changes = Mapping[Scope, Mapping[RowKey, Change]]
"""The changes of one call, by scope and row."""

WrittenRows = Mapping[Scope, Mapping[RowKey, Row]]
"""The rows that the changes name and that exist after them, changed or not."""


def check_conditions(changes: Changes, find: Callable[[Scope, RowKey], Row | None]) -> None:
    """Raise `Conflict`, naming all rows whose condition does not hold. `find` returns the stored row, if there is one.

    A condition is checked before its change is applied, so it counts also for a change that leaves the row as it is.
    """
    rows = [
        ConflictingRow(scope, condition.block_key, condition.revision, row.revision if row else 0)
        for scope, by_key in changes.items()
        for key, change in by_key.items()
        if (condition := change.condition) and not condition.holds(row := find(scope, key))
    ]
    if rows:
        raise Conflict(f"nothing was written, because of other changes: {'; '.join(map(_described, rows))}", rows=rows)


def _described(row: ConflictingRow) -> str:
    place = f"{row.block_key} ({row.scope.name})"
    if row.expected == row.actual:
        return f"{place} was deleted for good and created again since revision {row.expected} was read"
    expected = f"at revision {row.expected}" if row.expected else "absent"
    actual = f"at revision {row.actual}" if row.actual else "absent"
    return f"{place} should be {expected} and is {actual}"


def score_of(
    grade: float | None, max_grade: float | None, updated: datetime, created: datetime | None = None
) -> BlockScore | None:
    """Return the score in a row's columns; ``None`` if there is neither a grade nor a maximum."""
    return None if grade is None and max_grade is None else BlockScore(grade, max_grade, updated, created)


def clock() -> datetime:
    """Return the current time. A call reads it once, so all of its changes have the same time."""
    return datetime.now(UTC)


def is_state(text: str | None) -> TypeGuard[str]:
    """Tell whether a text is a state, neither deleted nor absent."""
    return text is not None and text != DELETED


def existing_state(text: str | None, fields: Iterable[str] | None = None) -> dict[str, Any] | None:
    """Return the state, or its set `fields` only; ``None`` for a deleted or absent state. Raises `NotAState`."""
    if not is_state(text):
        return None
    if fields is None:
        return decode_state(text)
    texts = split(text)
    return {name: decode_field(texts[name]) for name in fields if name in texts}


def damaged_state(username: Learner, block_key: BlockKey, scope: Scope, error: NotAState) -> DamagedState:
    """Return the error of a stored text that is no state, with the remedy."""
    of_learner = "" if scope == Scope.user_state_summary else f" of {username!r}"
    return DamagedState(
        f"the state{of_learner} in {block_key} ({scope.name}) can't be read: {error}. Something else than the client "
        "wrote it; set or delete it to mend it"
    )
