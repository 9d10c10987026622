"""Deletes the old ids of learners whose accounts are deleted, as their states are (`history.deletion`)."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import Model
from django.db.models.signals import post_delete

from xblock_user_state.history.entries import all_rows, delete_rows
from xblock_user_state.openedx.importing.models import ImportedModule
from xblock_user_state.store.databases import state_database


def connect() -> None:
    """Connect the receiver for deletions of users."""
    post_delete.connect(_forget, sender=get_user_model(), dispatch_uid="xblock_user_state_openedx.imported")


def _forget(instance: Model, using: str, **_: Any) -> None:
    if using == state_database():
        forget(instance.pk)
    else:
        # The user's transaction may be rolled back, and a rollback does not reach another database.
        transaction.on_commit(partial(forget, instance.pk), using=using)


def forget(student_id: Any) -> None:
    """Delete the old ids of a learner. One statement."""
    delete_rows(all_rows(ImportedModule, state_database()).filter(student_id=student_id))
