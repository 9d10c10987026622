"""Acts on learners' state: one transaction a learner, with rows in the log."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from django.db import Error, transaction
from opaque_keys.edx.keys import UsageKey
from xblock.fields import Scope

from xblock_user_state.actions.copied import refuse_while_copied
from xblock_user_state.actions.models import LoggedAction
from xblock_user_state.actions.order import Order
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.history.entries import Owner
from xblock_user_state.interface import BlockScore, Conflict, ServiceUnavailable, State, UserId
from xblock_user_state.maintenance.reports import stored_rows
from xblock_user_state.runtime import run_guarded
from xblock_user_state.state import FieldChange, diff, encode
from xblock_user_state.state.change import existing_state, score_of
from xblock_user_state.state.codec import NotAState
from xblock_user_state.state.keys import checked_block
from xblock_user_state.store.databases import state_database
from xblock_user_state.store.users import usernames

MOST_DETAILS = 1000
"""The most blocks that a result names."""

CHANGED_SINCE = "it was changed since"
"""The beginning of the reason why a block stays that has another revision than the caller saw."""

_MOST_OF_MESSAGE = 200
"""The most characters of an exception's message in the reason of a skipped block."""

_PAGE = 200

_LOG = logging.getLogger("xblock_user_state.actions")


class Held(NamedTuple):
    """The row of a learner in a block, locked unless this is a dry run."""

    client: DjangoXBlockUserStateClient
    student_id: Any
    block_key: UsageKey
    revision: int
    """0 if there is no row."""
    state: State | None
    score: BlockScore | None
    damage: str = ""
    """The reason why the state can't be read, and is ``None`` here; empty if it can."""


class Edit(NamedTuple):
    """A state, ``None`` for none, and a score: grade and maximum, both ``None`` for none."""

    state: State | None
    score: tuple[float | None, float | None]
    keeps_state: bool = False
    """Only the score changes; also where the state can't be read."""


class Call(NamedTuple):
    """A host's function that makes the change itself, in the transaction. If it raises, the block is skipped."""

    function: Callable[[], object]


class Skip(NamedTuple):
    """The reason for which a row is left as it is."""

    reason: str


_Change = tuple[Held, Edit | Call | Skip]


class Act(Protocol):
    """A kind of action."""

    def edit(self, held: Held) -> Edit | Call | Skip:
        """Return the change of a row. An edit that equals the row changes nothing."""

    def logged(self, entries: Sequence[LoggedAction]) -> None:
        """Take the rows of the log of one learner, in the transaction that saves them."""


class Detail(NamedTuple):
    """A block of a learner that was changed or skipped, or in a dry run would be."""

    username: str | None
    """``None`` for a learner who is no user any more."""
    block_key: UsageKey
    revision: int
    """Before the action; 0 if there was no row."""
    new_revision: int | None
    """``None`` in a dry run, and for a skipped block."""
    fields: tuple[str, ...]
    """The fields that differ."""
    score: BlockScore | None
    new_score: tuple[float | None, float | None] | None
    """Grade and maximum after the action; ``None`` if only the host's function knows them."""
    skipped: str
    """The reason why the block stayed as it is; empty for a change."""
    damage: str = ""
    """The reason why the state before the action can't be read; empty if it can."""
    changes: tuple[FieldChange, ...] = ()
    """These fields with their old and new values."""


class Acted(NamedTuple):
    """The result of an action, or the preview of one: numbers, and the first 1,000 blocks that change or stay."""

    id: UUID | None
    """The id of the call in the action log, for `undo` and ``resume``; ``None`` for a dry run."""
    learners: int
    changed: int
    """Blocks of learners that were changed."""
    unchanged: int
    """Blocks that are already as the action would make them."""
    skipped: int
    details: tuple[Detail, ...]


class Selected(Protocol):
    """The learners and their blocks."""

    @property
    def student_ids(self) -> Sequence[Any]:
        """The ids of all learners."""

    def blocks_of(self, student_id: Any) -> Sequence[UsageKey]:
        """Return the blocks of one learner."""


def act_on(order: Order, act: Act, selection: Selected) -> Acted:
    """Act on the learners one by one. Raises ``RuntimeError`` at stages that keep copies, and the error of a learner.

    The learners before an error stay changed. ``resume`` leaves them out.
    """
    refuse_while_copied()
    done = _done(order)
    student_ids = [student_id for student_id in selection.student_ids if student_id not in done]
    learner = _Learner(order, act, selection)
    numbers, details = [0, 0, 0], list[Detail]()
    for number, (name, found) in enumerate(_each(learner, student_ids), 1):
        numbers = [sum(pair) for pair in zip(numbers, found.numbers, strict=True)]
        details += [one._replace(username=name) for one in found.details[: MOST_DETAILS - len(details)]]
        if order.progress is not None:
            order.progress(number, len(student_ids))
    changed, unchanged, skipped = numbers
    id_ = None if order.dry_run else order.id
    return Acted(id_, len(student_ids), changed, unchanged, skipped, tuple(details))


def _done(order: Order) -> set[Any]:
    if order.resume is None:
        return set()
    entries = LoggedAction.objects.using(state_database()).filter(run=order.resume)
    found = set(entries.values_list("student_id", "act"))
    if any(act != order.act for _, act in found):
        raise ValueError(f"{order.resume} is the id of another kind of action than {order.act}")
    return {student_id for student_id, _ in found}


def points_of(score: BlockScore | None) -> tuple[float | None, float | None]:
    """Return grade and maximum as an `Edit` has them."""
    return (score.grade, score.max_grade) if score else (None, None)


def changed_since(held: Held, revision: int) -> Skip:
    """Return the reason why a row stays whose `revision` was another."""
    return Skip(f"{CHANGED_SINCE}: it has revision {held.revision}, not {revision}")


class _Stored(NamedTuple):
    """The stored values of a learner's row in a block."""

    text: str | None
    revision: int
    score: BlockScore | None


_NO_ROW = _Stored(None, 0, None)
_Rows = Mapping[UsageKey, _Stored]


class _Found(NamedTuple):
    """The blocks of one learner: numbers of changed, unchanged and skipped ones, and details."""

    numbers: tuple[int, int, int]
    details: list[Detail]


def _each(learner: _Learner, student_ids: Sequence[Any]) -> Iterator[tuple[str | None, _Found]]:
    for first in range(0, len(student_ids), _PAGE):
        page = student_ids[first : first + _PAGE]
        names = usernames(page)
        if learner.order.dry_run:
            yield from ((names.get(student_id), found) for student_id, found in learner.previews(page))
            continue
        for student_id in page:
            # A deadlock on rows that the learner writes meanwhile.
            yield names.get(student_id), run_guarded(partial(learner.act, student_id))


@dataclass(frozen=True)
class _Learner:
    """Acts on one learner at a time."""

    order: Order
    kind: Act
    selection: Selected

    def act(self, student_id: Any) -> _Found:
        """Change the blocks of a learner in one transaction."""
        keys = self.selection.blocks_of(student_id)
        client = DjangoXBlockUserStateClient(self.order.actor)
        if not keys:
            return _Found((0, 0, 0), [])
        with client.locked(UserId(student_id), {Scope.user_state: keys}):
            changes = self._changes(client, student_id, keys, _read(client, student_id, keys))
            _save(client, student_id, changes)
            changes = [(held, _called(held, change)) for held, change in changes]
            revisions = self._logged(client, student_id, changes)
        return _found(changes, revisions, len(keys))

    def previews(self, student_ids: Sequence[Any]) -> Iterator[tuple[Any, _Found]]:
        """Find the changes of learners. One statement for 500 of their blocks, and those of the act."""
        client = DjangoXBlockUserStateClient(self.order.actor)
        keys = {student_id: self.selection.blocks_of(student_id) for student_id in student_ids}
        rows = _read_all(keys)
        for student_id, of_learner in keys.items():
            changes = self._changes(client, student_id, of_learner, rows[student_id])
            yield student_id, _found(changes, None, len(of_learner))

    def _changes(
        self, client: DjangoXBlockUserStateClient, student_id: Any, keys: Sequence[UsageKey], rows: _Rows
    ) -> list[_Change]:
        """Return the rows that change or are skipped."""
        changes: list[_Change] = []
        for key in keys:
            text, revision, score = rows.get(key, _NO_ROW)
            held = Held(client, student_id, key, revision, None, score)
            try:
                held = held._replace(state=existing_state(text))
            except NotAState as error:
                held = held._replace(damage=str(error))
            change = self.kind.edit(held)
            if not isinstance(change, Edit) or _differs(held, change):
                changes.append((held, self._unless_changed(held, change)))
        return changes

    def _unless_changed(self, held: Held, change: Edit | Call | Skip) -> Edit | Call | Skip:
        expected = (self.order.if_revisions or {}).get((held.student_id, held.block_key), held.revision)
        return change if expected == held.revision or isinstance(change, Skip) else changed_since(held, expected)

    def _logged(
        self, client: DjangoXBlockUserStateClient, student_id: Any, changes: Sequence[_Change]
    ) -> Mapping[UsageKey, int]:
        """Log the rows whose revision is another now; return the new revisions."""
        rows = client.get_encoded(UserId(student_id), [held.block_key for held, _ in changes])
        revisions = {key: row.revision or 0 for key, row in rows.items()}
        entries = [
            self._entry(held, revisions[held.block_key])
            for held, _ in changes
            if revisions.get(held.block_key, 0) != held.revision
        ]
        self.order.log(*entries)
        self.kind.logged(entries)
        return revisions

    def _entry(self, held: Held, revision: int) -> LoggedAction:
        block = checked_block(held.block_key)
        return self.order.entry(
            student_id=held.student_id,
            block_id=block.id,
            context_id=block.context_id,
            revision_before=held.revision,
            revision_after=revision,
        )


def _save(client: DjangoXBlockUserStateClient, student_id: Any, changes: Sequence[_Change]) -> None:
    with client.batch(UserId(student_id)) as batch:
        for held, change in changes:
            if isinstance(change, Edit):
                # A row that never had state keeps none.
                if _replaces_state(held, change):
                    batch.replace(held.block_key, change.state or {})
                batch.set_score(held.block_key, *change.score)


def _called(held: Held, change: Edit | Call | Skip) -> Edit | Call | Skip:
    """Call the host's function. If it raises, return a skip: its writes are undone, and the run goes on.

    The errors of a database, and of a store that can't be reached, concern the other learners too and end the run.
    """
    if not isinstance(change, Call):
        return change
    try:
        with transaction.atomic(using=state_database()):
            change.function()
    except (Error, Conflict, ServiceUnavailable):
        raise
    except Exception as error:  # noqa: BLE001 (the function is the host's code; the result names the exception)
        _LOG.exception("the host's function failed for the learner %s in %s", held.student_id, held.block_key)
        return Skip(f"the host's function failed: {type(error).__name__}: {error}"[:_MOST_OF_MESSAGE])
    return change


def _read(client: DjangoXBlockUserStateClient, student_id: Any, keys: Sequence[UsageKey]) -> _Rows:
    """Return the rows of a learner that exist. Two statements."""
    rows = client.get_encoded(UserId(student_id), keys)
    scores = client.get_scores(UserId(student_id), keys)
    return {key: _Stored(row.text, row.revision or 0, scores.get(key)) for key, row in rows.items()}


def _read_all(keys: Mapping[Any, Sequence[UsageKey]]) -> Mapping[Any, _Rows]:
    """Return the rows of learners that exist."""
    key_of = {checked_block(key).id: key for of_learner in keys.values() for key in of_learner}
    owners = [Owner(student_id, checked_block(key).id) for student_id, some in keys.items() for key in some]
    rows: dict[Any, dict[UsageKey, _Stored]] = {student_id: {} for student_id in keys}
    for owner, row in stored_rows(state_database(), owners).items():
        score = score_of(row.grade, row.max_grade, row.modified)
        rows[owner.student_id][key_of[owner.block_id]] = _Stored(row.text, row.revision, score)
    return rows


def _found(changes: Sequence[_Change], revisions: Mapping[UsageKey, int] | None, blocks: int) -> _Found:
    """Return the result of a learner; `revisions` are the new ones, ``None`` in a dry run."""
    details = []
    for held, change in changes:
        revision = None if revisions is None else revisions.get(held.block_key, 0)
        # A host's function may have changed nothing.
        if isinstance(change, Skip) or revision != held.revision:
            details.append(_detail(held, change, revision))
    skipped = sum(bool(one.skipped) for one in details)
    changed = len(details) - skipped
    return _Found((changed, blocks - changed - skipped, skipped), details)


def _detail(held: Held, change: Edit | Call | Skip, revision: int | None) -> Detail:
    reason = change.reason if isinstance(change, Skip) else ""
    edit = change if isinstance(change, Edit) else None
    changes = tuple(diff(held.state, edit.state)) if edit and not edit.keeps_state else ()
    return Detail(
        username=None,
        block_key=held.block_key,
        revision=held.revision,
        new_revision=None if reason else revision,
        fields=tuple(one.field for one in changes),
        score=held.score,
        new_score=edit.score if edit else None,
        skipped=reason,
        damage=held.damage,
        changes=changes,
    )


def _differs(held: Held, edit: Edit) -> bool:
    return _replaces_state(held, edit) or points_of(held.score) != edit.score


def _replaces_state(held: Held, edit: Edit) -> bool:
    if edit.keeps_state:
        return False
    # A text that is no state is replaced even by none.
    return bool(held.damage) or _text(held.state) != _text(edit.state)


def _text(state: State | None) -> str | None:
    return encode(state) if state else None
