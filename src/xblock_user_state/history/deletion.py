"""Deleting for good: what is deleted through the ORM takes its history along, in the same transaction.

The one place for model signals: the ORM offers no other way to hear of a deletion by a host's code. The
client's own ``delete`` is a change and deletes no row.
"""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.db.models import Model
from django.db.models.signals import post_delete

from xblock_user_state.models import Preferences, StudentModule, StudentModuleHistory, UserInfo
from xblock_user_state.store.tables import state_database


def connect() -> None:
    """Listen for deletions of learners and of their rows."""
    for model in apps.get_models():
        # Proxy models too: Django sends the signal for the class that the host deleted by.
        if issubclass(model, StudentModule):
            post_delete.connect(_delete_history, sender=model, dispatch_uid="xblock_user_state.history")
        elif issubclass(model, get_user_model()):
            post_delete.connect(_delete_learner, sender=model, dispatch_uid="xblock_user_state.learner")


def _delete_history(instance: StudentModule, using: str, **_: Any) -> None:
    entries = StudentModuleHistory.objects.using(using)
    entries.filter(student_id=instance.student_id, block_id=instance.block_id).delete()


def _delete_learner(instance: Model, **_: Any) -> None:
    """Delete all that is kept of a learner: four statements, whatever the number of rows.

    The state rows first: a writer that holds one of them adds to the history until it has committed.
    """
    database = state_database()
    for model in (StudentModule, StudentModuleHistory, Preferences, UserInfo):
        # Without signals: StudentModule's would delete the history again, row by row.
        rows = model._base_manager.using(database).filter(student_id=instance.pk)
        rows._raw_delete(database)
