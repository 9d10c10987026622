"""Deletion for good: state, scores and history of all stores go, for one learner or for all learners of a block.

Blocks and courses stay in the registry. The next write of a learner begins a block anew, at revision 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from opaque_keys.edx.keys import LearningContextKey, UsageKey

from xblock_user_state.access import Action, Policy
from xblock_user_state.actions.copied import refuse_while_copied
from xblock_user_state.actions.models import LoggedAction
from xblock_user_state.actions.order import Order
from xblock_user_state.clients import arguments
from xblock_user_state.history import deletion as of_learner
from xblock_user_state.maintenance.deletion import Deleted, count_blocks, delete_blocks
from xblock_user_state.state.keys import checked_block, context_of, identify_context
from xblock_user_state.store.blocks import registered
from xblock_user_state.store.databases import state_database
from xblock_user_state.store.dialects.rows import value_field
from xblock_user_state.store.iteration import blocks_of
from xblock_user_state.store.models import StudentModule
from xblock_user_state.store.resting import resting
from xblock_user_state.store.transactions import errors_translated
from xblock_user_state.store.users import id_of


def delete_block(
    block_key: UsageKey, *, actor: Any, reason: str, policy: Policy | None = None, dry_run: bool = False
) -> Deleted:
    """Delete the states, scores and history of all learners in a block or an aside, and its shared state.

    The log gets one row, before the first page. A `policy` is asked to erase the states of all learners in the block.

    Goes over the learners in pages of 500, each a transaction with a few statements. In a transaction of the caller all
    pages commit together. Returns the numbers of deleted rows; with `dry_run` nothing is deleted, and they are counted.

    Raises `ServiceUnavailable` or a database error if a page fails. The pages before stay deleted; call again for the
    others. Raises ``RuntimeError`` on an Open edX site at the stages `shadow` and `lead`.
    """
    refuse_while_copied()
    order = Order("delete_block", actor, reason, policy, dry_run)
    block = checked_block(block_key)
    order.ask(Action.ERASE, None, context_of(block_key), block_key)
    database = state_database()
    with errors_translated(database):
        # Raises `BlockKeyCollision` if the id belongs to another block, whose state must stay.
        registered(database, [block])
    return _delete(order, [block.id], order.entry(block_id=block.id, context_id=block.context_id))


def delete_course(
    course_key: LearningContextKey, *, actor: Any, reason: str, policy: Policy | None = None, dry_run: bool = False
) -> Deleted:
    """Delete the states, scores and history of all learners in all blocks of a course or library.

    Works as `delete_block` does, block by block: at least one page for each registered block. State of block types
    (``preferences``) and of learners (``user_info``) belongs to no course and stays.
    """
    refuse_while_copied()
    order = Order("delete_course", actor, reason, policy, dry_run)
    context_id = identify_context(arguments.checked_course(course_key))
    order.ask(Action.ERASE, None, course_key)
    database = state_database()
    with errors_translated(database):
        block_ids = sorted(blocks_of(database, context_id, None))
    return _delete(order, block_ids, order.entry(context_id=context_id))


def delete_learner(user: Any) -> Deleted:
    """Delete all states, scores and history of a user, given as a user or as the id of a user, not by name.

    One transaction with a few statements, whatever the number of rows. The user stays. Deleting a user through Django's
    ORM does the same. Returns the number of deleted states in blocks.

    Raises ``ValueError`` for a user without an id: not saved, anonymous, or already deleted. Raises ``TypeError`` for
    an id that has not the type of the user model's key, such as a username: it could be the text of another user's id.
    Raises ``RuntimeError`` as `delete_block` does.
    """
    refuse_while_copied()
    student_id = id_of(user) if hasattr(user, "pk") else user
    if student_id is None:
        raise ValueError(f"{user!r} has no id; give the id that the user had")
    _check_id(student_id)
    return Deleted(of_learner.delete_learner(student_id), shared=0)


def _check_id(student_id: object) -> None:
    field = value_field(StudentModule._meta.get_field("student"))
    try:
        is_id = not isinstance(student_id, bool) and field.to_python(student_id) == student_id
    except ValidationError:
        is_id = False
    if not is_id:
        raise TypeError(
            f"user must be a user, or an id as {get_user_model().__name__} has it ({type(field).__name__}), not "
            f"{student_id!r} ({type(student_id).__name__})"
        )


def _delete(order: Order, block_ids: Sequence[int], entry: LoggedAction) -> Deleted:
    database = state_database()
    if order.dry_run:
        return count_blocks(database, block_ids)
    with errors_translated(database):
        order.log(entry)
    states = shared = 0
    for page in resting(database, delete_blocks(database, block_ids)):
        states += page.states
        shared += page.shared
    return Deleted(states, shared)
