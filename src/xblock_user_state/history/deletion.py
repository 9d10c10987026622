"""Deleting for good: what is deleted through the ORM takes its history along, in every store.

In the same transaction where the store is the same; through a tombstone in the outbox where it is the extended history,
so that it needs not be up at that moment. The one place for model signals: the ORM offers no other way to hear of a
deletion by a host's code. The client's own ``delete`` is a change and deletes no row.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import Model, Q
from django.db.models.signals import post_delete, pre_delete

from xblock_user_state import conf
from xblock_user_state.history.entries import (
    leave_tombstones,
    take_write_lock,
    without_tombstones,
)
from xblock_user_state.history.models import HistoryOutbox, StudentModuleHistory
from xblock_user_state.history.outbox import shipping
from xblock_user_state.store.databases import state_database
from xblock_user_state.store.models import Preferences, StudentModule, UserInfo
from xblock_user_state.store.statements import pieces

__all__ = ["delete_learner"]


def connect() -> None:
    """Listen for deletions of learners and of their rows."""
    for model in apps.get_models():
        # Proxy models too: Django sends the signal for the class that the host deleted by.
        if issubclass(model, StudentModule):
            pre_delete.connect(_delete_history, sender=model, dispatch_uid="xblock_user_state.history")
        elif issubclass(model, get_user_model()):
            post_delete.connect(_delete_learner, sender=model, dispatch_uid="xblock_user_state.learner")


def _delete_history(instance: StudentModule, using: str, **_: Any) -> None:
    """Delete the history of a row that is about to be deleted in this transaction.

    If the row is gone, its history went with it, and what there is belongs to a row that was made since, or will be. If
    it is there, it is locked, so that it is the one that is deleted: after the deletion nobody could tell.
    """
    take_write_lock(using, which=Q(student_id=instance.student_id))
    rows = StudentModule._base_manager.using(using).select_for_update()
    if rows.filter(student_id=instance.student_id, block_id=instance.block_id).values_list("revision"):
        _delete_entries(using, instance.student_id, [instance.block_id])
        _bury(using, instance.student_id, [instance.block_id])


def _delete_learner(instance: Model, using: str, **_: Any) -> None:
    """Delete all that is kept of a user: with the user in one transaction, or after it in another database."""
    if using == state_database():
        delete_learner(instance.pk)
    else:
        # The deletion of the user may be rolled back, and what is in another database would not come back.
        transaction.on_commit(partial(delete_learner, instance.pk), using=using)


def delete_learner(student_id: Any) -> None:
    """Delete all that is kept of a learner, for good: a few statements, whatever the number of rows.

    Deleting a user calls it. By itself it is for users that are gone and whose state is not: that is in a database of
    its own, and failed when the user was deleted.
    """
    database = state_database()
    with transaction.atomic(using=database):
        done: set[int] = set()
        # Until there are no others: a writer may begin one more block meanwhile.
        while block_ids := sorted(_states_of(database, student_id) | (_entries_of(database, student_id) - done)):
            _delete_blocks(database, student_id, block_ids)
            # A caller's old snapshot goes on to show entries that are gone.
            done.update(block_ids)
        for model in (Preferences, UserInfo):
            model._base_manager.using(database).filter(student_id=student_id)._raw_delete(database)


def _states_of(database: str, student_id: Any) -> set[int]:
    """Return the blocks in which the learner has a state, which is locked."""
    modules = StudentModule.objects.using(database).filter(student_id=student_id).select_for_update()
    return set(modules.order_by("block_id").values_list("block_id", flat=True))


def _entries_of(database: str, student_id: Any) -> set[int]:
    """Return the blocks of which the learner has history that waits or is left over."""
    block_ids: set[int] = set()
    for model in (StudentModuleHistory, HistoryOutbox):
        entries = model._base_manager.using(database).filter(student_id=student_id)
        block_ids.update(entries.values_list("block_id", flat=True).distinct())
    return block_ids


def _delete_blocks(database: str, student_id: Any, block_ids: Sequence[int]) -> None:
    """Delete the states in these blocks, and no others: each of them needs its tombstone.

    The state rows first: a writer that holds one of them adds to the history until it has committed.
    """
    for some in pieces(database, block_ids):
        # Without signals: they would delete the history again, row by row.
        modules = StudentModule._base_manager.using(database).filter(student_id=student_id, block_id__in=some)
        modules._raw_delete(database)
        _delete_entries(database, student_id, some)
    _bury(database, student_id, block_ids)


def _delete_entries(database: str, student_id: Any, block_ids: Sequence[int]) -> None:
    """Delete what the state's database has of the history of these blocks.

    A tombstone that waits there stays: the extended history has not heard of that deletion yet.
    """
    for model in (StudentModuleHistory, HistoryOutbox):
        entries = model._base_manager.using(database).filter(student_id=student_id, block_id__in=block_ids)
        without_tombstones(entries)._raw_delete(database)


def _bury(database: str, student_id: Any, block_ids: Sequence[int]) -> None:
    """Leave a tombstone for each block, where there is an extended history, and ship them after the commit."""
    if not block_ids or not conf.has_extended_history():
        return
    leave_tombstones(database, student_id, block_ids)
    if conf.ships_at_once():
        shipping.ship_after_commit(database, student_id, block_ids)
