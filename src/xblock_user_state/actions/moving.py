"""Moves of learner state to other usage keys, with its scores and history, for blocks that got new keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple
from uuid import UUID

from opaque_keys.edx.keys import LearningContextKey, UsageKey

from xblock_user_state.access import Action, Policy
from xblock_user_state.actions.copied import refuse_while_copied
from xblock_user_state.actions.models import LoggedAction
from xblock_user_state.actions.order import Order
from xblock_user_state.interface import UserDoesNotExist
from xblock_user_state.maintenance.moving import MovedPage, move_blocks
from xblock_user_state.state.keys import context_of, identify_context, parse_block
from xblock_user_state.state.moves import Move, check_contexts, moves_of_blocks, moves_of_context
from xblock_user_state.store.databases import state_database
from xblock_user_state.store.iteration import blocks_of
from xblock_user_state.store.transactions import errors_translated
from xblock_user_state.store.users import user_id, usernames

MOST_DETAILS = 1000
"""The most states that a result names."""


class Skipped(NamedTuple):
    """A state that stayed under its old key, because there is a state or history under the new key."""

    username: str | None
    """``None`` for state that all learners share, and for a learner who is no user any more."""
    old_key: UsageKey
    new_key: UsageKey
    reason: str


class Moved(NamedTuple):
    """Numbers of moved rows, and of rows that stayed; `details` names the first 1,000 of these."""

    states: int
    """States of single learners."""
    shared: int
    """States that all learners of a block share."""
    skipped: int
    details: tuple[Skipped, ...]


def move_state(  # noqa: PLR0913 (all but two by keyword)
    old_key: UsageKey | LearningContextKey | Mapping[UsageKey, UsageKey],
    new_key: UsageKey | LearningContextKey | None = None,
    *,
    username: str | None = None,
    actor: Any,
    reason: str,
    policy: Policy | None = None,
    dry_run: bool = False,
    run: UUID | None = None,
) -> Moved:
    """Move the states, scores and history of all learners, and shared state, to other usage keys.

    `old_key` and `new_key` are two blocks, or two courses or libraries: then each block moves to the block of the same
    type and name. For several blocks `old_key` is a mapping of old to new keys, and `new_key` is left out. With
    `username` only the states of this learner move.

    Nothing is overwritten or merged: if a learner has a state or history under the new key, the state under the old key
    stays, and the result counts it. Revisions, times, actors and stored texts stay as they are. With `dry_run` nothing
    moves, and the result is that of a move.

    The log gets a row for each old block, or one for a course, before the first page. A `policy` is asked to act on the
    learner, or on all learners, in each old and new place. `run` is the id of the call in the log.

    Goes over the learners of each block in pages of 100, each a transaction. In a transaction of the caller all pages
    commit together.

    Raises ``TypeError`` or ``ValueError`` for keys that don't fit, and `UserDoesNotExist`. Raises `ServiceUnavailable`
    or a database error if a page fails, also if the database of an extended history can't be reached. The pages before
    stay moved; call again for the others. Raises ``RuntimeError`` on an Open edX site at the stages `shadow` and
    `lead`.
    """
    refuse_while_copied()
    order = Order("move_state", actor, reason, policy, dry_run, run=run)
    for place in _places(old_key, new_key):
        if isinstance(place, UsageKey):
            order.ask(Action.ACT, username, context_of(place), place)
        else:
            order.ask(Action.ACT, username, place)
    database = state_database()
    moves = _moves(database, old_key, new_key)
    student_id = None if username is None else _student_id(username)
    if not dry_run:
        with errors_translated(database):
            order.log(*_entries(order, old_key, moves, student_id))
    return _collected(move_blocks(database, moves, student_id, dry_run=dry_run))


def _places(old_key: Any, new_key: Any) -> Iterator[UsageKey | LearningContextKey]:
    pairs = old_key.items() if isinstance(old_key, Mapping) else [(old_key, new_key)]
    # Other objects are refused by `_moves`.
    return (key for pair in pairs for key in pair if isinstance(key, UsageKey | LearningContextKey))


def _entries(order: Order, old_key: object, moves: Sequence[Move], student_id: Any) -> list[LoggedAction]:
    if isinstance(old_key, LearningContextKey):
        return [order.entry(student_id=student_id, context_id=identify_context(old_key))]
    return [order.entry(student_id=student_id, block_id=move.old.id, context_id=move.old.context_id) for move in moves]


def _moves(database: str, old_key: object, new_key: object) -> Sequence[Move]:
    if isinstance(old_key, Mapping):
        if new_key is not None:
            raise TypeError(f"new_key must be left out beside a mapping of old to new keys, not be {new_key!r}")
        return moves_of_blocks(old_key)
    if isinstance(old_key, LearningContextKey):
        if not isinstance(new_key, LearningContextKey):
            raise TypeError(f"new_key must be the key of a course or library, as old_key is, not {new_key!r}")
        check_contexts(old_key, new_key)
        with errors_translated(database):
            blocks = blocks_of(database, identify_context(old_key), None)
        return moves_of_context(blocks.values(), new_key)
    if isinstance(old_key, UsageKey):
        if not isinstance(new_key, UsageKey):
            raise TypeError(f"new_key must be a UsageKey, as old_key is, not {new_key!r}")
        return moves_of_blocks({old_key: new_key})
    raise TypeError(
        f"old_key must be a UsageKey, the key of a course or library, or a mapping of UsageKeys, not {old_key!r} "
        f"({type(old_key).__name__})"
    )


def _student_id(username: object) -> Any:
    if not isinstance(username, str):
        raise TypeError(f"username must be a string, not {username!r} ({type(username).__name__})")
    student_id = user_id(username)
    if student_id is None:
        raise UserDoesNotExist(f"there is no user {username!r}")
    return student_id


def _collected(pages: Iterator[MovedPage]) -> Moved:
    states = shared = skipped = 0
    details: list[Skipped] = []
    for page in pages:
        states += page.states
        shared += page.shared
        skipped += len(page.skipped)
        details += _details(page, MOST_DETAILS - len(details))
    return Moved(states, shared, skipped, tuple(details))


def _details(page: MovedPage, most: int) -> Iterator[Skipped]:
    """Yield up to `most` of the states that stayed. One statement for the names, if any stayed."""
    some = dict(islice(page.skipped.items(), most))
    if some:
        names = usernames([student_id for student_id in some if student_id is not None])
        old, new = (parse_block(block.context_key, block.usage_key) for block in page.move)
        for student_id, reason in some.items():
            yield Skipped(names.get(student_id), old, new, reason)
