"""The actions that pages offer, and their work, cut into parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from django import forms
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from opaque_keys.edx.keys import LearningContextKey, UsageKey

from xblock_user_state import actions
from xblock_user_state.actions import Acted, Detail
from xblock_user_state.console import log
from xblock_user_state.console.forms import NothingForm, RevisionForm, ScoreForm, TimeForm
from xblock_user_state.console.hosts import ConsoleHost
from xblock_user_state.console.keys import blocks_in
from xblock_user_state.interface import UserId
from xblock_user_state.maintenance import parts
from xblock_user_state.maintenance.parts import Place, Seen
from xblock_user_state.state.keys import checked_block
from xblock_user_state.store import users
from xblock_user_state.store.databases import state_database

Text = str | Promise


class Kind(NamedTuple):
    """An action that pages offer."""

    title: Text
    help: Text
    function: Callable[..., Acted]
    parameters: type[forms.Form] = NothingForm
    needs_block: bool = False


KINDS: Mapping[str, Kind] = {
    "reset_attempts": Kind(
        _("Reset attempts"),
        _("Sets the number of attempts to 0, so that learners can try again. Answers and scores stay."),
        actions.reset_attempts,
    ),
    "override_score": Kind(
        _("Set the score"),
        _("Sets the score, and leaves the answers alone."),
        actions.override_score,
        ScoreForm,
        needs_block=True,
    ),
    "rescore": Kind(
        _("Rescore"), _("Scores the answers anew, with the question as it is now. Attempts stay."), actions.rescore
    ),
    "restore": Kind(
        _("Restore"), _("Brings an earlier state and score back, as a new revision."), actions.restore, TimeForm
    ),
    "delete_state": Kind(
        _("Delete the state"),
        _("Deletes answers and scores. The history stays, so this can be undone."),
        actions.delete_state,
    ),
}

TITLES: Mapping[str, Text] = {
    **{name: kind.title for name, kind in KINDS.items()},
    "undo": _("Undo"),
    "move_state": _("Move to another key"),
    "erase_learner": _("Erase a learner"),
    "export_learner": _("Export a learner’s data"),
    "delete_block": _("Delete a block’s states for good"),
    "delete_course": _("Delete a course’s states for good"),
}
"""The titles of all acts that the log has."""


DELETING = frozenset({"delete_state", "erase_learner", "delete_block", "delete_course"})
"""Acts that take something away from learners."""


class Target(NamedTuple):
    """A block, or all blocks of a course; of one learner, or of several."""

    course: LearningContextKey
    block: UsageKey | None
    has_learner: bool


def kind_of(act: str, host: ConsoleHost, target: Target) -> Kind | None:
    """Return an action if it can be offered for a target."""
    kind = KINDS.get(act)
    can_act = act != "rescore" or host.rescorer(target.block) is not None
    if kind is None or not can_act or (kind.needs_block and target.block is None):
        return None
    if act == "restore" and target.has_learner and target.block is not None:
        # A revision belongs to one learner and block.
        return kind._replace(parameters=RevisionForm)
    return kind


class Part(NamedTuple):
    """A part of the work, and the place after it, as JSON has them; ``None`` at the end."""

    units: Sequence[Any]
    after: Any


class Work(Protocol):
    """The states of an action, or its rows of the log."""

    def part(self, after: Any) -> Part:
        """Return the part that follows a place; the first one after ``None``."""

    def left(self, units: Sequence[Any], run: UUID) -> Sequence[Any]:
        """Leave out the units that the call has done already: a form may be sent twice."""

    def call(self, units: Sequence[Any], *, is_previewed: bool, **options: Any) -> Acted:
        """Do a part. If it is previewed, leave alone states that were changed since."""


@dataclass(frozen=True)
class States:
    """States of named learners, or of all, in a block or in the blocks of a course."""

    kind: Kind
    target: Target
    parameters: Mapping[str, Any]
    learners: Sequence[Any] | None
    """Ids; ``None`` for all learners."""

    @cached_property
    def _keys(self) -> Mapping[int, UsageKey]:
        block = self.target.block
        return blocks_in(self.target.course, None) if block is None else {checked_block(block).id: block}

    def part(self, after: Any) -> Part:
        database = state_database()
        if self.learners is None:
            place = None if after is None else Place(after[0], _id(after[1]))
            found, following = parts.of_all_learners(database, sorted(self._keys), place)
            return _part(found, following and [following.block_id, _text(following.student_id)])
        ids = [users.checked_id(id_) for id_ in self.learners]
        if self.target.block is None:
            return _part(*parts.of_learners_in_course(database, ids, self._keys, after or 0))
        return _part(*parts.of_learners_in_block(database, ids, next(iter(self._keys)), after or 0))

    def left(self, units: Sequence[Any], run: UUID) -> Sequence[Any]:
        seen = _seen(units)
        done = log.done_in(run, [one.student_id for one in seen])
        return [unit for unit, one in zip(units, seen, strict=True) if (one.student_id, one.block_id) not in done]

    def call(self, units: Sequence[Any], *, is_previewed: bool, **options: Any) -> Acted:
        where: dict[UserId, list[UsageKey]] = {}
        revisions = {}
        for one in _seen(units):
            key = self._keys.get(one.block_id)
            if key is not None:
                where.setdefault(UserId(one.student_id), []).append(key)
                revisions[one.student_id, key] = one.revision
        if is_previewed:
            options["if_revisions"] = revisions
        return self.kind.function(where, **self.parameters, **options)


@dataclass(frozen=True)
class Undoing:
    """Rows of the log of one call, in one course."""

    rows: Any = field(repr=False)
    """A query."""

    def part(self, after: Any) -> Part:
        found, following = log.part_of(self.rows, after)
        return Part([str(row.id) for row in found], following)

    def left(self, units: Sequence[Any], run: UUID) -> Sequence[Any]:
        # Undone rows are skipped by the action.
        return units

    def call(self, units: Sequence[Any], *, is_previewed: bool, **options: Any) -> Acted:
        return actions.undo([UUID(unit) for unit in units], **options)


@dataclass(frozen=True)
class Moving:
    """The states of a block, of one learner or of all, and the block that takes them over."""

    old: UsageKey
    new: UsageKey
    username: str | None

    def part(self, after: Any) -> Part:
        return Part([str(self.old)], None)

    def left(self, units: Sequence[Any], run: UUID) -> Sequence[Any]:
        return [] if log.has_rows(run) else units

    def call(self, units: Sequence[Any], *, is_previewed: bool, **options: Any) -> Acted:
        moved = actions.move_state(self.old, self.new, username=self.username, **options)
        stayed = tuple(Detail(one.username, one.old_key, 0, None, (), None, None, one.reason) for one in moved.details)
        return Acted(options.get("run"), 0, moved.states + moved.shared, 0, moved.skipped, stayed)


def parameters_of(act: str, host: ConsoleHost, target: Target, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of an action from the values of its form, as JSON has them."""
    if act == "override_score":
        return {"grade": values["grade"], "max_grade": values["max_grade"]}
    if act == "rescore":
        return {"rescorer": host.rescorer(target.block)}
    if act == "restore":
        return {"revision": values["revision"]} if values.get("revision") else {"at": _time(values["at"])}
    return {}


def _time(value: Any) -> datetime:
    return datetime.fromisoformat(value) if isinstance(value, str) else value


def _part(found: Sequence[Seen], after: Any) -> Part:
    return Part([[_text(one.student_id), one.block_id, one.revision] for one in found], after)


def _seen(units: Sequence[Any]) -> list[Seen]:
    return [Seen(_id(student_id), block_id, revision) for student_id, block_id, revision in units]


def _id(text: Any) -> Any:
    return None if text is None else users.checked_id(text)


def _text(student_id: Any) -> Any:
    # A UUID is no value of JSON.
    return student_id if student_id is None or isinstance(student_id, int) else str(student_id)
