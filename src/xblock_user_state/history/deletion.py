"""Deletes history for good, together with the state rows or the users that a host deletes through the ORM.

The local stores lose their entries in the transaction that deletes the row. The extended history loses them through a
tombstone in the outbox, so its database may be down at that moment. This is the only module with model signals: the ORM
has no other hook for deletions by a host's code. The client's ``delete`` is a change of state and deletes no row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import Model, Q
from django.db.models.signals import post_delete, pre_delete

from xblock_user_state import conf
from xblock_user_state.history.entries import (
    TOMBSTONE,
    Owner,
    all_rows,
    delete_local_entries,
    delete_rows,
    leave_tombstones,
    take_write_lock,
)
from xblock_user_state.history.models import HistoryOutbox, HistoryWatermark, StudentModuleHistory
from xblock_user_state.store.databases import state_database
from xblock_user_state.store.models import AnsweredWrite, StudentModule
from xblock_user_state.store.statements import pieces
from xblock_user_state.store.tables import TABLES

__all__ = ["delete_learner"]

_IS_NO_TOMBSTONE = Q(first_kept__gt=TOMBSTONE)


def connect() -> None:
    """Connect the receivers for deletions of users and of state rows."""
    users = get_user_model()._meta.concrete_model
    for model in apps.get_models():
        # Proxy models too: Django's sender is the class through which the host deletes.
        if issubclass(model, StudentModule):
            pre_delete.connect(_delete_history, sender=model, dispatch_uid="xblock_user_state.history")
        # No children of the user's table: a child's key may be the id of another user, and its user may stay. If the
        # user goes too, Django sends the user's own signal.
        elif model._meta.concrete_model is users:
            post_delete.connect(_delete_learner, sender=model, dispatch_uid="xblock_user_state.learner")


def _delete_history(instance: StudentModule, using: str, **_: Any) -> None:
    """Delete the history of a row just before Django deletes the row, in the same transaction."""
    take_write_lock(using, which=Q(student_id=instance.student_id))
    # The instance may be stale. If another process has deleted its row, that process has deleted the history too, and
    # any entries found now belong to a newer row of the same learner and block. The lock keeps the row in place until
    # Django deletes it: `post_delete` would be too late, because it cannot tell whether there was a row.
    rows = all_rows(StudentModule, using).select_for_update()
    if rows.filter(student_id=instance.student_id, block_id=instance.block_id).values_list("revision"):
        delete_local_entries(using, Q(student_id=instance.student_id, block_id__in=[instance.block_id]))
        _delete_extended(using, instance.student_id, [instance.block_id])


def _delete_learner(instance: Model, using: str, **_: Any) -> None:
    """Delete the learner data of a user: in the user's transaction, or after its commit in another database."""
    if using == state_database():
        delete_learner(instance.pk)
    else:
        # The user's transaction may be rolled back, and a rollback does not reach another database.
        transaction.on_commit(partial(delete_learner, instance.pk), using=using)


def delete_learner(student_id: Any) -> int:
    """Delete all state, scores and history of a learner, for good. A few statements, whatever the number of rows.

    Returns the number of deleted states in blocks.

    Deleting a user calls it. Call it yourself after users and state live in different databases and the state's
    database failed when the user was deleted: then the user is gone and the state is not.
    """
    database = state_database()
    with transaction.atomic(using=database):
        done: set[int] = set()
        states = 0
        # Repeat until no block is left: a writer may begin another block meanwhile.
        while block_ids := sorted(
            (found := _states_of(database, student_id)) | (_entries_of(database, student_id) - done)
        ):
            delete_states(database, student_id, block_ids)
            states += len(found)
            # In a caller's REPEATABLE READ transaction the snapshot may still show deleted entries. Without `done` the
            # loop would not end.
            done.update(block_ids)
        for table in TABLES.values():
            # Rows with history went above, each with its history. A row that is begun now stays whole.
            if table.owned and table.model is not StudentModule:
                delete_rows(all_rows(table.model, database).filter(**table.pinned(student_id)))
        delete_rows(all_rows(AnsweredWrite, database).filter(student_id=student_id))
    return states


def _states_of(database: str, student_id: Any) -> set[int]:
    """Return the blocks in which the learner has a state row, and lock these rows."""
    modules = all_rows(StudentModule, database).filter(student_id=student_id).select_for_update()
    # In the order of the primary key, like the writers, so that locks don't end in a deadlock.
    return set(modules.order_by("block_id").values_list("block_id", flat=True))


def _entries_of(database: str, student_id: Any) -> set[int]:
    """Return the blocks with entries in the local stores or in the archive. SQL may have deleted their state rows."""
    block_ids: set[int] = set()
    for model, some in ((StudentModuleHistory, Q()), (HistoryOutbox, Q()), (HistoryWatermark, _IS_NO_TOMBSTONE)):
        rows = all_rows(model, database).filter(some, student_id=student_id)
        block_ids.update(rows.values_list("block_id", flat=True).distinct())
    return block_ids


def delete_states(database: str, student_id: Any, block_ids: Sequence[int]) -> int:
    """Delete states, scores and history of a learner in some blocks, for good. Call it in a transaction.

    Returns the number of deleted states.
    """
    deleted = 0
    # Only the blocks that were listed, and not all rows of the learner: each deleted block needs its tombstone.
    for some in pieces(database, block_ids):
        # State rows first: a writer that holds a row's lock adds history entries until it commits.
        deleted += delete_rows(all_rows(StudentModule, database).filter(student_id=student_id, block_id__in=some))
        delete_local_entries(database, Q(student_id=student_id, block_id__in=some))
    _delete_extended(database, student_id, block_ids)
    return deleted


def _delete_extended(database: str, student_id: Any, block_ids: Sequence[int]) -> None:
    def ship_tombstones() -> None:
        # Late: most processes have no extended history, and would load what they never use.
        from xblock_user_state.history.outbox import shipping  # noqa: PLC0415

        shipping.ship_at_once(database, Q(student_id=student_id, block_id__in=block_ids), len(block_ids))

    bury(database, [Owner(student_id, block_id) for block_id in block_ids], ship_tombstones)


def bury(database: str, owners: Sequence[Owner], ship_tombstones: Callable[[], object]) -> None:
    """Leave tombstones if there is an extended history, and ship them after the commit unless only the relay ships.

    The caller's module sends the statement of the shipment, so that law 7 holds for it: it names a learner, or the
    module may leave the learner out. `ship_tombstones` must be a function: Django logs its name if it raises.
    """
    if not owners or not conf.has_extended_history():
        return
    leave_tombstones(database, owners)
    if conf.ships_at_once():
        transaction.on_commit(ship_tombstones, using=database, robust=True)
