"""The upgrade path: forward and backward on each database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, connections
from django.db.migrations.executor import MigrationExecutor

from tests import citus
from tests.factories import make_block, make_learners
from xblock_user_state.client import DjangoXBlockUserStateClient

APP = "xblock_user_state"


def our_tables() -> list[str]:
    # The tables of the app for Open edX refer to them, and go and come with them.
    names = connection.introspection.table_names()
    return [name for name in names if name.startswith(APP) and not name.startswith(f"{APP}_openedx")]


def columns_and_constraints() -> dict[str, Any]:
    """Return the columns and constraints of our tables, as the database reports them."""
    found: dict[str, Any] = {}
    with connection.cursor() as cursor:
        for table in our_tables():
            columns = connection.introspection.get_table_description(cursor, table)
            constraints = connection.introspection.get_constraints(cursor, table).values()
            found[table] = (
                sorted((column.name, str(column.type_code), column.null_ok, column.collation) for column in columns),
                sorted((_columns(one), one["primary_key"], one["unique"], one["index"]) for one in constraints),
            )
    return found


def _columns(constraint: Mapping[str, Any]) -> list[str]:
    # Django reports the columns of SQLite's primary keys in table order, which depends on migrations of earlier tests.
    columns: list[str] = constraint["columns"]
    return sorted(columns) if constraint["primary_key"] else columns


@pytest.fixture
def migrated_again(transactional_db: None) -> Iterator[None]:
    """Restores the tables after the test."""
    yield
    call_command("migrate", verbosity=0)
    citus.distribute()


@pytest.mark.django_db
def test_the_migrations_say_what_the_models_say() -> None:
    call_command("makemigrations", APP, check=True, dry_run=True, verbosity=0)


@pytest.mark.usefixtures("migrated_again")
def test_migrations_run_backward_and_forward() -> None:
    before = columns_and_constraints()
    assert len(before) == 11
    call_command("migrate", APP, "zero", verbosity=0)
    assert our_tables() == []
    call_command("migrate", verbosity=0)
    assert columns_and_constraints() == before
    make_learners("ann")
    client = DjangoXBlockUserStateClient()
    client.set("ann", make_block(), {"a": 1})
    assert client.get("ann", make_block()).state == {"a": 1}


@pytest.mark.usefixtures("migrated_again")
def test_each_migration_can_be_undone_with_rows_in_the_tables() -> None:
    make_learners("ann")
    DjangoXBlockUserStateClient().set("ann", make_block(), {"a": 1})
    executor = MigrationExecutor(connections["default"])
    names = [name for app, name in executor.loader.graph.nodes if app == APP]
    for name in [*sorted(names)[-2::-1], "zero"]:
        call_command("migrate", APP, name, verbosity=0)
    assert our_tables() == []


@pytest.mark.django_db(transaction=True)
def test_the_sql_of_each_migration_can_be_printed() -> None:
    printed = StringIO()
    call_command("sqlmigrate", APP, "0001", stdout=printed)
    assert printed.getvalue().count("CREATE TABLE") >= 7
