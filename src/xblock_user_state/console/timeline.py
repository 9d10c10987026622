"""A page of one learner's history in one block: changes of each revision, filtered, with runs of small ones folded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import NamedTuple

from xblock_user_state.console import people
from xblock_user_state.console.changes import Shown, compared
from xblock_user_state.history.encoding import PACK
from xblock_user_state.history.entries import all_rows, stores, without_tombstones
from xblock_user_state.history.models import BaseStudentModuleHistory
from xblock_user_state.history.reading import BlockHistory
from xblock_user_state.history.unpacking import unpacked
from xblock_user_state.interface import BlockScore, DamagedHistory, State
from xblock_user_state.state.change import existing_state
from xblock_user_state.state.codec import NotAState
from xblock_user_state.store.transactions import errors_translated

SHOWN = 25
"""Revisions on a page."""

EXAMINED = 127
"""Revisions that a page with a filter looks at. With the one before them they are one page of the store's reader."""

RUN = 4
"""Small changes in a row that are folded into one line."""


class Revision(NamedTuple):
    """A revision with its changes."""

    number: int
    created: datetime
    score: BlockScore | None
    is_scored: bool
    """It changed the score."""
    actor: str | None
    state: State | None
    changes: Sequence[Shown]
    damage: str
    """The reason why the changes can't be shown; empty if they can."""
    is_deletion: bool

    @property
    def is_small(self) -> bool:
        """Tell whether it is one small change of the state."""
        return not (self.is_scored or self.damage or self.is_deletion) and all(each.is_small for each in self.changes)


class Run(NamedTuple):
    """Neighbouring revisions, newest first. More than one are folded."""

    revisions: Sequence[Revision]

    @property
    def is_folded(self) -> bool:
        """Tell whether the page folds them."""
        return len(self.revisions) > 1


class Part(NamedTuple):
    """A part of a history, newest first."""

    revisions: Sequence[Revision]
    older: int | None
    """The revision before which the next part begins; ``None`` at the end."""
    examined: tuple[int, int] | None
    """The first and the last revision that were looked at; ``None`` if there are none."""

    @property
    def runs(self) -> list[Run]:
        """The revisions with runs of small changes of one actor folded."""
        return list(_runs(self.revisions))


@dataclass(frozen=True)
class Wanted:
    """The filters of a page. Empty ones let all revisions through."""

    field: str = ""
    actor: str = ""
    since: datetime | None = None

    def __bool__(self) -> bool:
        return bool(self.field or self.actor or self.since)

    def __contains__(self, revision: Revision) -> bool:
        return (
            (not self.field or any(change.field == self.field for change in revision.changes))
            and (not self.actor or revision.actor == self.actor)
            and (self.since is None or revision.created >= self.since)
        )


def read_part(history: BlockHistory, before: int | None, wanted: Wanted) -> Part:
    """Return the newest revisions before a revision. One statement for each store, and one for names of actors."""
    with errors_translated(history.database):
        # The last entry is only compared with.
        entries = list(history.newest_first((EXAMINED if wanted else SHOWN) + 1, before))
    names = people.names_of({entry.actor_id for entry in entries if entry.actor_id is not None})
    is_whole = len(entries) <= (EXAMINED if wanted else SHOWN)
    pairs: list[tuple[BaseStudentModuleHistory, BaseStudentModuleHistory | None]] = list(pairwise(entries))
    if is_whole and entries:
        pairs.append((entries[-1], None))
    found: list[Revision] = []
    looked_at: list[int] = []
    for new, old in pairs:
        if len(found) == SHOWN or (wanted.since and new.created < wanted.since):
            break
        looked_at.append(new.revision)
        revision = _revision(old, new, names.get(new.actor_id))
        if revision in wanted:
            found.append(revision)
    is_end = not looked_at or (is_whole and len(looked_at) == len(pairs))
    is_past = bool(wanted.since and len(looked_at) < len(pairs) and pairs[len(looked_at)][0].created < wanted.since)
    older = None if is_end or is_past else looked_at[-1]
    return Part(found, older, (looked_at[-1], looked_at[0]) if looked_at else None)


def read_one(history: BlockHistory, number: int) -> BaseStudentModuleHistory | None:
    """Return the entry of a revision, decoded; ``None`` if there is none. One statement for each store."""
    with errors_translated(history.database):
        found = next(iter(history.newest_first(1, number + 1)), None)
    return found if found is not None and found.revision == number else None


def revision_at(history: BlockHistory, moment: datetime) -> int | None:
    """Return the last revision that was made until a moment; ``None`` if there is none. Two statements a store."""
    found: list[int] = []
    for model, alias in stores(history.database):
        rows = without_tombstones(all_rows(model, alias))
        rows = rows.filter(student_id=history.student_id, block_id=history.block_id)
        with errors_translated(alias):
            made = rows.filter(created__lte=moment).order_by("-revision")
            found.extend(made.values_list("revision", flat=True)[:1])
            # A pack has the time of its newest entry.
            packs = list(rows.filter(created__gt=moment, encoding=PACK).order_by("revision")[:1])
        found.extend(entry.revision for entry in unpacked(packs) if entry.created <= moment)
    return max(found, default=None)


def state_of(entry: BaseStudentModuleHistory | None) -> State | None:
    """Return the state of an entry; ``None`` where there was none. Raises `DamagedHistory`."""
    if entry is None:
        return None
    try:
        return existing_state(entry.state)
    except NotAState as error:
        raise DamagedHistory(str(error)) from error


def _revision(old: BaseStudentModuleHistory | None, new: BaseStudentModuleHistory, actor: str | None) -> Revision:
    state, changes, damage, is_deletion = None, list[Shown](), "", False
    try:
        state = state_of(new)
        before = state_of(old)
        changes, is_deletion = compared(before, state), bool(before) and state is None
    except DamagedHistory as error:
        damage = str(error)
    is_scored = (new.grade, new.max_grade) != ((old.grade, old.max_grade) if old else (None, None))
    return Revision(new.revision, new.created, new.score, is_scored, actor, state, changes, damage, is_deletion)


def _runs(revisions: Sequence[Revision]) -> Iterator[Run]:
    start = 0
    while start < len(revisions):
        end = start + 1
        joins = _joins(revisions[start])
        while end < len(revisions) and joins(revisions[end]):
            end += 1
        if end - start < RUN:
            end = start + 1
        yield Run(revisions[start:end])
        start = end


def _joins(first: Revision) -> Callable[[Revision], bool]:
    def joins(other: Revision) -> bool:
        return first.is_small and other.is_small and other.actor == first.actor

    return joins
