"""Deletion for good: state, scores and history of all stores go, for one learner or for all learners of a block.

Blocks and courses stay in the registry. The next write of a learner begins a block anew, at revision 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opaque_keys.edx.keys import LearningContextKey, UsageKey

from xblock_user_state.clients import arguments
from xblock_user_state.history import deletion as of_learner
from xblock_user_state.maintenance.deletion import Deleted, delete_blocks
from xblock_user_state.state.keys import checked_block, identify_context
from xblock_user_state.store.blocks import registered
from xblock_user_state.store.databases import state_database
from xblock_user_state.store.iteration import blocks_of
from xblock_user_state.store.transactions import errors_translated
from xblock_user_state.store.users import id_of


def delete_block(block_key: UsageKey) -> Deleted:
    """Delete the states, scores and history of all learners in a block or an aside, and its shared state.

    Goes over the learners in pages of 500, each a transaction with a few statements. In a transaction of the caller all
    pages commit together. Returns the numbers of deleted rows.

    Raises `ServiceUnavailable` or a database error if a page fails. The pages before stay deleted; call again for the
    others.
    """
    database = state_database()
    block = checked_block(block_key)
    with errors_translated(database):
        # Raises `BlockKeyCollision` if the id belongs to another block, whose state must stay.
        registered(database, [block])
    return _delete(database, [block.id])


def delete_course(course_key: LearningContextKey) -> Deleted:
    """Delete the states, scores and history of all learners in all blocks of a course or library.

    Works as `delete_block` does, block by block: at least one page for each registered block. State of block types
    (``preferences``) and of learners (``user_info``) belongs to no course and stays.
    """
    database = state_database()
    context_id = identify_context(arguments.checked_course(course_key))
    with errors_translated(database):
        block_ids = sorted(blocks_of(database, context_id, None))
    return _delete(database, block_ids)


def delete_learner(user: Any) -> None:
    """Delete all states, scores and history of a user, given as a user or as the id of a user.

    One transaction with a few statements, whatever the number of rows. The user stays. Deleting a user through Django's
    ORM calls it.

    Raises ``ValueError`` for a user without an id: not saved, anonymous, or already deleted.
    """
    student_id = id_of(user) if hasattr(user, "pk") else user
    if student_id is None:
        raise ValueError(f"{user!r} has no id; give the id that the user had")
    of_learner.delete_learner(student_id)


def _delete(database: str, block_ids: Sequence[int]) -> Deleted:
    states = shared = 0
    for page in delete_blocks(database, block_ids):
        states += page.states
        shared += page.shared
    return Deleted(states, shared)
