"""The views behind the models. They have names of their own, so they can stand beside the platform's old tables.

``migrate`` keeps them: they are created when they are missing, and dropped before a migration that could change a table
under them, because PostgreSQL and SQLite refuse to change a table that a view reads. So a release that changes a
definition comes with a migration.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from django.apps import AppConfig
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.signals import post_migrate, pre_migrate

from xblock_user_state.openedx.importing.models import ImportedModule
from xblock_user_state.openedx.numbers.models import BlockNumber
from xblock_user_state.openedx.views import definitions, fields, statements
from xblock_user_state.openedx.views.statements import Place
from xblock_user_state.store.databases import state_database
from xblock_user_state.store.models import Preferences, StudentModule, UserInfo, UserStateSummary

STUDENT_MODULE = "xblock_user_state_openedx_studentmodule"

FIELDS: Mapping[str, str] = {
    name: name.replace("courseware", "xblock_user_state_openedx") for name in fields.FIELD_TABLES
}
"""The views of the field tables, by the tables' old names."""

# Not that of `sets.ViewSet`, which drops its own.
_FUNCTION = Place("xblock_user_state_openedx_own_fields")
_APPS = {"xblock_user_state", "xblock_user_state_openedx"}
_TABLES = (StudentModule, Preferences, UserInfo, UserStateSummary, BlockNumber, ImportedModule)


def connect(app: AppConfig) -> None:
    """Keep the views when the site is migrated."""
    pre_migrate.connect(_before, sender=app, dispatch_uid="xblock_user_state.openedx.views")
    post_migrate.connect(_after, sender=app, dispatch_uid="xblock_user_state.openedx.views")


def _before(using: str, plan: Collection[tuple[Any, bool]], **_: Any) -> None:
    if using == state_database() and any(migration.app_label in _APPS for migration, _ in plan):
        connection = connections[using]
        for place in _places(connection):
            statements.drop(connection, place)
        fields.drop_function(connection, _FUNCTION)


def _after(using: str, **_: Any) -> None:
    if using != state_database():
        return
    connection = connections[using]
    # A site may migrate one app after the other, and back to before this one.
    if _has_tables(connection) and not all(statements.exists(connection, place) for place in _places(connection)):
        create(connection)


def create(connection: BaseDatabaseWrapper) -> None:
    """Create the views, or replace their definitions."""
    statements.create(connection, Place(STUDENT_MODULE), definitions.student_module(connection))
    if fields.can_split(connection):
        fields.create_function(connection, _FUNCTION)
        for name, table in fields.FIELD_TABLES.items():
            statements.create(connection, Place(FIELDS[name]), table.select(connection, _FUNCTION))


def _places(connection: BaseDatabaseWrapper) -> list[Place]:
    return [Place(name) for name in (STUDENT_MODULE, *(FIELDS.values() if fields.can_split(connection) else ()))]


def _has_tables(connection: BaseDatabaseWrapper) -> bool:
    return {model._meta.db_table for model in _TABLES} <= set(connection.introspection.table_names())
