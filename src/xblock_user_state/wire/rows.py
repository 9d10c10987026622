"""Rows, scores and entries of the history, as answers have them."""

from __future__ import annotations

from datetime import datetime
from typing import Self

from msgspec import UNSET, Struct

from xblock_user_state.interface import BlockScore, DamagedHistory, HistoryEntry, State
from xblock_user_state.state import codec
from xblock_user_state.state.change import Row
from xblock_user_state.wire.addresses import Address
from xblock_user_state.wire.values import Json, pack_json, pack_number, unpack_json, unpack_number, unpack_state


class Answer(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An answer. Readers ignore fields that they do not know."""


class StoredRow(Answer, frozen=True, kw_only=True):
    """A row: its state (null if it never had one), revision, score and times. Answers to writes leave out the state."""

    revision: int
    state: Json = UNSET
    grade: float | str | None = None
    max_grade: float | str | None = None
    created: datetime
    updated: datetime

    @classmethod
    def of(cls, row: Row, *, with_state: bool = True) -> Self:
        """Return the message of a row."""
        return cls(
            revision=row.revision,
            state=pack_json(row.text) if with_state else UNSET,
            grade=pack_number(row.grade),
            max_grade=pack_number(row.max_grade),
            created=row.created,
            updated=row.modified,
        )

    def row(self) -> Row:
        """Return the row. Its text is ``None`` in the answer to a write."""
        grade, max_grade = unpack_number(self.grade), unpack_number(self.max_grade)
        return Row(self.revision, unpack_json(self.state), grade, max_grade, self.created, self.updated)


class StoredScore(Answer, frozen=True, kw_only=True):
    """A score, and the times of its row."""

    grade: float | str | None = None
    max_grade: float | str | None = None
    updated: datetime
    created: datetime | None = None

    @classmethod
    def of(cls, score: BlockScore) -> Self:
        """Return the message of a score."""
        grade, max_grade = pack_number(score.grade), pack_number(score.max_grade)
        return cls(grade=grade, max_grade=max_grade, updated=score.updated, created=score.created)

    def score(self) -> BlockScore:
        """Return the score."""
        return BlockScore(unpack_number(self.grade), unpack_number(self.max_grade), self.updated, self.created)


class StoredEntry(Answer, frozen=True, kw_only=True):
    """An entry of the history; a damaged one has the reason in the place of its state."""

    revision: int
    state: Json = UNSET
    damaged: str | None = None
    updated: datetime
    grade: float | str | None = None
    max_grade: float | str | None = None
    actor: str | None = None
    archived: bool = False

    @classmethod
    def of(cls, entry: HistoryEntry) -> Self:
        """Return the message of an entry."""
        state, score = entry[2], entry.score
        is_damaged = isinstance(state, DamagedHistory)
        return cls(
            revision=entry.revision,
            state=UNSET if is_damaged or state is None else pack_json(codec.encode(state)),
            damaged=str(state) if is_damaged else None,
            updated=entry.updated,
            grade=pack_number(score.grade) if score else None,
            max_grade=pack_number(score.max_grade) if score else None,
            actor=entry.actor,
            archived=entry.archived,
        )

    def state_or_damage(self) -> State | DamagedHistory | None:
        """Return the state, a fresh object; for a damaged entry the error in its place."""
        return unpack_state(self.state) if self.damaged is None else DamagedHistory(self.damaged)

    def score(self) -> BlockScore | None:
        """Return the score, if there is one."""
        if self.grade is None and self.max_grade is None:
            return None
        return BlockScore(unpack_number(self.grade), unpack_number(self.max_grade), self.updated)


class FoundRow(Address, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """A row that was found, with its canonical key; the state is null where there is none."""

    revision: int
    state: Json = UNSET
    updated: datetime
