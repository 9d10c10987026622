"""The view behind the compatible model. It has a name of its own, so it can stand beside the platform's old tables.

``migrate`` keeps it: it is created when there is none, and dropped before a migration that could change a table under
it, because PostgreSQL and SQLite refuse to change a table that a view reads. So a release that changes the definition
comes with a migration.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.apps import AppConfig
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.signals import post_migrate, pre_migrate

from xblock_user_state.openedx.importing.models import ImportedModule
from xblock_user_state.openedx.numbers.models import BlockNumber
from xblock_user_state.openedx.views import definitions, statements
from xblock_user_state.store.databases import state_database
from xblock_user_state.store.models import StudentModule

STUDENT_MODULE = "xblock_user_state_openedx_studentmodule"

_APPS = {"xblock_user_state", "xblock_user_state_openedx"}


def connect(app: AppConfig) -> None:
    """Keep the view when the site is migrated."""
    pre_migrate.connect(_before, sender=app, dispatch_uid="xblock_user_state.openedx.views")
    post_migrate.connect(_after, sender=app, dispatch_uid="xblock_user_state.openedx.views")


def _before(using: str, plan: Collection[tuple[Any, bool]], **_: Any) -> None:
    if using == state_database() and any(migration.app_label in _APPS for migration, _ in plan):
        statements.drop(connections[using], statements.Place(STUDENT_MODULE))


def _after(using: str, **_: Any) -> None:
    if using != state_database():
        return
    connection = connections[using]
    # A site may migrate one app after the other, and back to before this one.
    if _has_tables(connection) and not statements.exists(connection, statements.Place(STUDENT_MODULE)):
        create(connection)


def create(connection: BaseDatabaseWrapper) -> None:
    """Create the view, or replace its definition."""
    select = definitions.student_module(connection)
    statements.create(connection, statements.Place(STUDENT_MODULE), select)


def _has_tables(connection: BaseDatabaseWrapper) -> bool:
    needed = {model._meta.db_table for model in (StudentModule, BlockNumber, ImportedModule)}
    return needed <= set(connection.introspection.table_names())
