"""Migrations of the extended history run in its database only; no other migration runs there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.core.management import call_command
from django.db import connections
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.recorder import MigrationRecorder
from django.test import override_settings
from pytest_django import Settings

from tests.traces import RAN
from xblock_user_state.history.entries import extended_model

ALIAS = "student_module_history"
LABEL = "xblock_user_state_extended_history"
TABLE = f"{LABEL}_studentmodulehistoryextended"
pytestmark = [
    pytest.mark.extended_history,
    pytest.mark.django_db(transaction=True, databases=["default", ALIAS]),
]


def tables(alias: str) -> set[str]:
    return set(connections[alias].introspection.table_names()) - {MigrationRecorder.Migration._meta.db_table}


@pytest.fixture
def ran(settings: Settings) -> Iterator[list[tuple[str, str]]]:
    """The traces of the migrations that a test runs; they are undone after it."""
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "tests.bystander"]
    settings.MIGRATION_MODULES = {LABEL: "tests.history_migrations"}
    RAN.clear()
    yield RAN
    for alias in ("default", ALIAS):
        call_command("migrate", LABEL, "0001", database=alias, verbosity=0)
        call_command("migrate", "bystander", "zero", database=alias, verbosity=0)


def test_the_history_database_holds_the_history_and_nothing_else() -> None:
    assert tables(ALIAS) == {TABLE}
    assert TABLE not in tables("default")


def test_each_database_gets_its_own(ran: list[tuple[str, str]]) -> None:
    columns = {"student_id": 7, "block_id": 7, "revision": 1, "created": "2026-01-01T00:00:00Z", "encoding": 0}
    extended_model()._base_manager.using(ALIAS).bulk_create([extended_model()(**columns)])
    call_command("migrate", database="default", verbosity=0)
    assert ran == [("bystander", "default"), ("bystander, hinted", "default")]
    call_command("migrate", database=ALIAS, verbosity=0)
    assert ran[2:] == [("history", ALIAS), ("history, hinted", ALIAS)]
    assert extended_model()._base_manager.using(ALIAS).get().version == "moved"
    assert tables(ALIAS) == {TABLE}
    assert "bystander_passerby" in tables("default")


def test_the_order_does_not_matter(ran: list[tuple[str, str]]) -> None:
    call_command("migrate", database=ALIAS, verbosity=0)
    call_command("migrate", database="default", verbosity=0)
    assert {name.partition(",")[0]: alias for name, alias in ran} == {"bystander": "default", "history": ALIAS}
    assert len(ran) == 4
    assert tables(ALIAS) == {TABLE}


@override_settings(DATABASE_ROUTERS=[])
def test_without_the_router_others_run_there_too(ran: list[tuple[str, str]]) -> None:
    """Shows the need for the router, and that the tests above can fail."""
    # Use the executor: the command would also create permissions, in tables that this database lacks.
    MigrationExecutor(connections[ALIAS]).migrate([("bystander", "0001_initial")])
    assert tables(ALIAS) == {TABLE, "bystander_passerby"}
    assert ran == [("bystander", ALIAS), ("bystander, hinted", ALIAS)]
    MigrationExecutor(connections[ALIAS]).migrate([("bystander", None)])
