"""Actions that change the state or the score of learners, with history kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Unpack

from django.contrib.auth import get_user_model
from opaque_keys.edx.keys import UsageKey

from xblock_user_state.access import Action
from xblock_user_state.actions.engine import Act, Acted, Call, Edit, Held, Skip, act_on, points_of
from xblock_user_state.actions.models import LoggedAction
from xblock_user_state.actions.order import Options, Order
from xblock_user_state.actions.selection import Learners, Where, selected
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.clients import arguments
from xblock_user_state.interface import DamagedHistory, DoesNotExist, HistoryEntry, UserId
from xblock_user_state.state.attempts import counters_in
from xblock_user_state.store.databases import user_database

Rescorer = Callable[[DjangoXBlockUserStateClient, Any, UsageKey], object]
"""Scores a block anew. Arguments: a client whose user is the actor, the learner (a user), and the block's key."""

NO_STATE = Skip("the learner has no state in the block")
_NOT_RECORDED = Skip("no history was recorded")


class _OfTheRow:
    """An act that looks at the row alone."""

    def __init__(self, edit: Callable[[Held], Edit | Call | Skip]) -> None:
        self.edit = edit

    def logged(self, entries: Sequence[LoggedAction]) -> None:
        pass


def reset_attempts(
    where: Where = None, learners: Learners = None, *, actor: Any, reason: str, **options: Unpack[Options]
) -> Acted:
    """Set the number of attempts to 0, so that learners may try again. Answers and scores stay.

    Blocks that count no attempts (`state.attempts`), and states that can't be read, are skipped. See `Options` for the
    keywords.
    """
    order = Order("reset_attempts", actor, reason, **options)
    return _act(order, where, learners, _OfTheRow(_without_attempts))


def _without_attempts(held: Held) -> Edit | Skip:
    if held.damage:
        return _unreadable(held)
    counted = counters_in(held.state)
    if held.state is None or not counted:
        return Skip("the state counts no attempts")
    return Edit({**held.state, **dict.fromkeys(counted, 0)}, points_of(held.score))


def delete_state(
    where: Where = None, learners: Learners = None, *, actor: Any, reason: str, **options: Unpack[Options]
) -> Acted:
    """Delete states and scores. Rows and history stay, so it can be undone; `erase_learner` deletes for good.

    A state that can't be read is deleted too.
    """
    order = Order("delete_state", actor, reason, **options)
    return _act(order, where, learners, _OfTheRow(lambda _: Edit(None, (None, None))))


def override_score(
    where: Where = None,
    learners: Learners = None,
    *,
    grade: float | None,
    max_grade: float | None,
    actor: Any,
    reason: str,
    **options: Unpack[Options],
) -> Acted:
    """Set the score, and leave the state alone, also one that can't be read. ``None`` for both removes the score.

    A learner who is named, in a block that is named, gets the score also if they never opened the block.
    """
    arguments.new_score(grade, max_grade)
    order = Order("override_score", actor, reason, **options)
    return _act(order, where, learners, _OfTheRow(lambda held: Edit(held.state, (grade, max_grade), keeps_state=True)))


def restore(
    where: Where = None,
    learners: Learners = None,
    *,
    revision: int | None = None,
    at: datetime | None = None,
    actor: Any,
    reason: str,
    **options: Unpack[Options],
) -> Acted:
    """Bring back state and score as they were after a `revision`, or at a time. It is a new revision.

    A revision belongs to one learner and block. At a time before the first revision there was no state. Blocks without
    a history, or whose history has been damaged there, are skipped. The present state need not be readable: restoring
    mends it.
    """
    if (revision is None) == (at is None):
        raise ValueError("give either revision or at, the time of the state")
    if at is not None and at.tzinfo is None:
        raise ValueError(f"at must have a time zone, not be {at!r}")
    arguments.checked_count(revision, "revision")
    order = Order("restore", actor, reason, **options)
    find = partial(_entry_at, at=at) if at is not None else partial(entry_of, revision=revision or 0)
    return _act(order, where, learners, _OfTheRow(partial(restored, find)))


def rescore(
    where: Where = None,
    learners: Learners = None,
    *,
    rescorer: Rescorer,
    actor: Any,
    reason: str,
    **options: Unpack[Options],
) -> Acted:
    """Call a function of the host for each block and learner with state, in the transaction of the learner.

    It loads the block over the client, and saves its score. It may use a guarded unit of work. After a `Conflict` all
    blocks of the learner are scored again, so it must have no effect outside of the database. A dry run does not call
    it. Learners who are no users any more are skipped. If it raises, its writes are undone and the block is skipped,
    with the exception as the reason; errors of the database and `ServiceUnavailable` end the run.
    """
    order = Order("rescore", actor, reason, **options)
    return _act(order, where, learners, _OfTheRow(partial(_scored_anew, rescorer)))


def _scored_anew(rescorer: Rescorer, held: Held) -> Call | Skip:
    if held.damage:
        return _unreadable(held)
    if held.state is None:
        return NO_STATE
    users = get_user_model()._base_manager.using(user_database())
    learner = users.filter(pk=held.student_id).first()
    if learner is None:
        return Skip("the learner is no user any more")
    return Call(partial(rescorer, held.client, learner, held.block_key))


Find = Callable[[Held], HistoryEntry | Skip | None]
"""Finds an entry of the history; ``None`` for the time before the first one. May raise `DoesNotExist`."""


def restored(find: Find, held: Held) -> Edit | Skip:
    """Return the edit that brings back an entry of the history."""
    try:
        entry = find(held)
        if entry is None:
            return Edit(None, (None, None))
        if isinstance(entry, Skip):
            return entry
        return Edit(entry.state, points_of(entry.score))
    except DoesNotExist:
        return _NOT_RECORDED
    except DamagedHistory as error:
        return Skip(f"the history can't be read: {error}")


def entry_of(held: Held, revision: int) -> HistoryEntry | Skip:
    """Return the entry of a revision, or the reason why there is none."""
    learner = UserId(held.student_id)
    for entry in held.client.get_history(learner, held.block_key, limit=1, before_revision=revision + 1):
        if entry.revision == revision:
            return entry
    if revision > held.revision > 0:
        return Skip(f"there is no revision {revision}; the newest is {held.revision}")
    return _NOT_RECORDED


def _entry_at(held: Held, at: datetime) -> HistoryEntry | Skip | None:
    oldest = 0
    for entry in held.client.get_history(UserId(held.student_id), held.block_key):
        if entry.updated <= at:
            return entry
        oldest = entry.revision
    if oldest > 1:
        return Skip("the recorded history begins later")
    return None


def _unreadable(held: Held) -> Skip:
    return Skip(f"the stored state can't be read: {held.damage}; restore an earlier revision, or delete the state")


def _act(order: Order, where: Where, learners: Learners, act: Act) -> Acted:
    return act_on(order, act, selected(order, Action.ACT, where, learners))
