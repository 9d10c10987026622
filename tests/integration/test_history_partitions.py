"""History tables that are partitioned by learner or by time: the life of entries, and that of the partitions."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.core.checks import CheckMessage
from django.core.management import CommandError, call_command
from django.db import connection, connections, models, transaction
from django.test import Client
from pytest_django import Settings

from tests import citus
from tests.factories import make_learners
from tests.integration.console.reading import address
from tests.integration.histories import BLOCK, add_entries
from tests.integration.test_strangers import change_by_sql, history, numbers, relay_if_needed, restore
from xblock_user_state.checks import check_databases, check_engines_of_partitions
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.history import partitions
from xblock_user_state.history.encoding import PLAIN
from xblock_user_state.history.entries import lasting_stores
from xblock_user_state.history.partitions.base import HASHES, months_after, this_month
from xblock_user_state.models import StudentModule, StudentModuleHistory

on_a_server = pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has no partitions")
pytestmark = [
    pytest.mark.django_db(transaction=True, databases="__all__"),
    # These tests leave plain tables behind.
    pytest.mark.skipif("HISTORY_PARTITIONS" in os.environ, reason="the tables of this run are partitioned already"),
    pytest.mark.skipif(citus.DIALECT == "citus", reason="the tables of this run are distributed already"),
]
TWO = pytest.mark.extended_history

BY_RELAY = {"EXTENDED_HISTORY": True, "SHIP_HISTORY": "by_relay"}
in_every_store = pytest.mark.parametrize(
    "flags",
    [{}, pytest.param({"EXTENDED_HISTORY": True}, marks=TWO), pytest.param(BY_RELAY, marks=TWO)],
    ids=["default", "extended", "outbox"],
)
by_time = pytest.mark.parametrize("kind", ["time"])
MIGRATIONS = (("xblock_user_state", "0007"), ("xblock_user_state_extended_history", "0001"))


@pytest.fixture(params=["learner", "time"])
def kind(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


@pytest.fixture
def flags() -> dict[str, Any]:
    return {}


@pytest.fixture
def plain(transactional_db: None) -> Iterator[None]:
    """Makes the tables plain again after the test."""
    yield
    for model, alias in lasting_stores("default"):
        with connections[alias].schema_editor() as editor:
            editor.delete_model(model)
            editor.create_model(model)


@pytest.fixture
def client(plain: None, kind: str, flags: dict[str, Any], settings: Settings) -> DjangoXBlockUserStateClient:
    """A client of a site with partitions."""
    settings.XBLOCK_USER_STATE = {"HISTORY_PARTITIONS": kind, **flags}
    for model, alias in lasting_stores("default"):
        assert partitions.partition_if_empty(connections[alias], model)
    make_learners("ann", "bob")
    return DjangoXBlockUserStateClient()


def kinds() -> set[Any]:
    return {each.kind() for each in made()}


def made() -> list[partitions.Partitions]:
    found = (partitions.partitions_of(connections[alias], model) for model, alias in lasting_stores("default"))
    return [each for each in found if each is not None]


def run(command: str, **options: Any) -> str:
    output = StringIO()
    call_command(command, stdout=output, **options)
    return output.getvalue()


def ids_of_checks() -> list[str | None]:
    return [problem.id for problem in check_databases(list(connections))]


def installed_in_the_past(months: int) -> None:
    """Make the partitions by time that a site would have that was installed so many months ago, and did no more."""
    for (model, alias), each in zip(lasting_stores("default"), made(), strict=True):
        with connections[alias].schema_editor() as editor:
            editor.delete_model(model)
            editor.create_model(model)
        each.by_time([months_after(this_month(), number - months) for number in range(partitions.AHEAD + 2)])


@on_a_server
@TWO
def test_the_choice_is_made_before_the_first_migration(plain: None, kind: str, settings: Settings) -> None:
    settings.XBLOCK_USER_STATE = {"HISTORY_PARTITIONS": kind}
    for (_, alias), (app, before) in zip(lasting_stores("default"), MIGRATIONS, strict=True):
        call_command("migrate", app, before, database=alias, verbosity=0)
        call_command("migrate", app, database=alias, verbosity=0)
    assert kinds() == {partitions.Kind(kind)}


@on_a_server
@in_every_store
def test_the_life_of_a_history(client: DjangoXBlockUserStateClient, tmp_path: Path) -> None:
    add_entries(client, 40)
    add_entries(client, 3, "bob")
    relay_if_needed()
    assert numbers() == [*range(40)]
    run("check_history")

    run("compact_history", older_than="0h", state_file=tmp_path / "position")
    add_entries(DjangoXBlockUserStateClient(), 2, start=40)
    relay_if_needed()
    assert numbers() == [*range(42)]

    StudentModule._base_manager.filter(student__username="bob")._raw_delete("default")
    run("sweep_history")
    assert {entry.student_id for entry in entries()} == {get_user_model().objects.get(username="ann").pk}
    run("check_history")
    get_user_model().objects.get(username="ann").delete()
    relay_if_needed()
    assert entries() == []


def entries() -> list[Any]:
    return [
        entry for model, alias in lasting_stores("default") for entry in model._base_manager.using(alias).defer("body")
    ]


@on_a_server
@in_every_store
def test_a_row_that_sql_took_back_continues_after_its_history(client: DjangoXBlockUserStateClient) -> None:
    add_entries(client, 3)
    restore(lambda: add_entries(client, 3, start=3))
    # The client has the row of revision 6 in its cache, other clients read the one of revision 3.
    add_entries(client, 1, start=10)
    relay_if_needed()
    assert numbers() == [0, 1, 2, 3, 4, 5, 10]

    change_by_sql(revision=2)
    with transaction.atomic():
        add_entries(DjangoXBlockUserStateClient(), 2, start=11)
    relay_if_needed()
    assert numbers() == [0, 1, 2, 3, 4, 5, 10, 11, 12]

    StudentModule._base_manager.filter(student__username="ann")._raw_delete("default")
    add_entries(DjangoXBlockUserStateClient(), 2, start=20)
    relay_if_needed()
    assert numbers() == [0, 1, 2, 3, 4, 5, 10, 11, 12, 20, 21]
    run("check_history")


@on_a_server
@in_every_store
def test_a_damaged_entry_is_repaired_in_its_place(client: DjangoXBlockUserStateClient) -> None:
    add_entries(client, 3)
    relay_if_needed()
    for model, alias in lasting_stores("default"):
        model._base_manager.using(alias).filter(revision=2).update(body=b"damaged")

    run("repair_history")

    relay_if_needed()
    assert sorted(entry.revision for entry in entries()) == [1, 2, 3]
    run("check_history")


@on_a_server
@by_time
def test_two_entries_of_a_revision_are_named_and_kept(client: DjangoXBlockUserStateClient) -> None:
    add_entries(client, 3)
    second = StudentModuleHistory._base_manager.get(revision=2)
    second.created, second.encoding, second.body = datetime(2020, 1, 1, tzinfo=UTC), PLAIN, b'{"number": 7}'
    StudentModuleHistory._base_manager.bulk_create([second])

    for command in ("check_history", "repair_history"):
        output = StringIO()
        with pytest.raises(CommandError):
            call_command(command, stdout=output)
        assert "revision 2" in output.getvalue()
    assert StudentModuleHistory._base_manager.filter(revision=2).count() == 2


@on_a_server
@pytest.mark.parametrize("kind", ["learner"])
def test_the_history_of_a_learner_is_in_one_partition(client: DjangoXBlockUserStateClient) -> None:
    add_entries(client, 3)
    reads: list[tuple[str, Any]] = []

    def keep(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        if f"FROM {connection.ops.quote_name(StudentModuleHistory._meta.db_table)}" in sql:
            reads.append((sql, params))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(keep):
        history()
        DjangoXBlockUserStateClient().get_history("ann", BLOCK)
    assert reads
    assert {len(touched(sql, params)) for sql, params in reads} == {1}


def touched(sql: str, params: Any) -> set[str]:
    """Return the partitions that a statement touches."""
    is_postgresql = connection.vendor == "postgresql"
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {'(ANALYZE, FORMAT JSON)' if is_postgresql else 'PARTITIONS'} {sql}", params)
        found = cursor.fetchall()
        names = [column[0] for column in cursor.description]
    if is_postgresql:
        plan = found[0][0]
        return set(relations((json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"]))
    return {name for row in found for name in str(dict(zip(names, row, strict=True))["partitions"]).split(",")}


def relations(node: dict[str, Any]) -> Iterator[str]:
    """Yield the tables that a plan has read. PostgreSQL prunes hidden values when it runs."""
    if node["Actual Loops"] and "Relation Name" in node:
        yield node["Relation Name"]
    for child in node.get("Plans", ()):
        yield from relations(child)


@on_a_server
@by_time
def test_months_are_made_ahead(client: DjangoXBlockUserStateClient) -> None:
    assert ids_of_checks() == []
    assert "months added: 0" in run("partition_history")
    installed_in_the_past(months=12)
    add_entries(client, 2)

    assert set(ids_of_checks()) == {"xblock_user_state.W011"}
    assert "months to add: 12" in run("partition_history", dry_run=True)
    assert set(ids_of_checks()) == {"xblock_user_state.W011"}
    assert "months added: 12" in run("partition_history")

    assert ids_of_checks() == []
    assert numbers() == [0, 1]
    assert "months added: 3" in run("partition_history", months=15)


@on_a_server
@by_time
@in_every_store
def test_entries_past_the_last_month_get_partitions(client: DjangoXBlockUserStateClient, kind: str) -> None:
    installed_in_the_past(months=16)
    add_entries(client, 3)
    relay_if_needed()
    assert set(ids_of_checks()) == {"xblock_user_state.W011"}
    assert "past the last month" in health()
    with pytest.raises(CommandError, match="past the last month"):
        run("partition_history", dry_run=True)

    assert "they have partitions now" in run("partition_history")

    assert ids_of_checks() == []
    assert "past the last month" not in health()
    assert not any(each.has_later() for each in made())
    add_entries(DjangoXBlockUserStateClient(), 2, start=3)
    relay_if_needed()
    assert numbers() == [*range(5)]
    run("check_history")


def health() -> str:
    """Return the health as operators get it."""
    operator, _ = User.objects.get_or_create(username="root", is_superuser=True)
    browser = Client()
    browser.force_login(operator)
    return json.dumps(browser.get(address("health_json")).json()["checks"])


@on_a_server
@by_time
def test_entries_of_a_wrong_clock_stay_an_alarm(client: DjangoXBlockUserStateClient) -> None:
    installed_in_the_past(months=16)
    add_entries(client, 3)
    for revision, created in ((2, datetime(2150, 1, 1, tzinfo=UTC)), (3, in_months(3))):
        StudentModuleHistory._base_manager.filter(revision=revision).update(created=created)

    with pytest.raises(CommandError, match="clock"):
        run("partition_history")

    assert numbers() == [0, 1, 2]
    assert next(each.has_later() for each in made())
    StudentModuleHistory._base_manager.filter(revision=2).update(created=in_months(0))
    run("partition_history")
    assert ids_of_checks() == []


BACK = {
    "learners_05": "FOR VALUES WITH (MODULUS 16, REMAINDER 5)",
    "month": "FOR VALUES FROM ('{month} 00:00:00+00') TO ('{next} 00:00:00+00')",
    "later": "DEFAULT",
}


@pytest.mark.skipif(connection.vendor != "postgresql", reason="others detach no partitions")
@pytest.mark.parametrize(("kind", "part"), [("learner", "learners_05"), ("time", "month"), ("time", "later")])
def test_a_detached_partition_is_named_and_comes_back(client: DjangoXBlockUserStateClient, part: str) -> None:
    month, after = this_month(), months_after(this_month(), 1)
    end = f"before_{after:%Y_%m}" if part == "month" else part
    table, lost = StudentModuleHistory._meta.db_table, f"xus_studentmodulehistory_{end}"
    add_entries(client, 2)
    execute(f"ALTER TABLE {table} DETACH PARTITION {lost}")
    assert ids_of_checks() == ["xblock_user_state.W012"]
    assert f"partitions are missing: {lost}" in health()
    for dry_run in (True, False):
        with pytest.raises(CommandError, match=f"default history: partitions are missing: {lost}. Bring them back"):
            run("partition_history", dry_run=dry_run)
    if part == "month":
        # A new entry goes to the last partition meanwhile.
        add_entries(client, 1, start=2)
        later = "xus_studentmodulehistory_later"
        move = f"WITH moved AS (DELETE FROM {later} RETURNING *) INSERT INTO {lost} SELECT * FROM moved"  # noqa: S608
        execute(move)
    execute(f"ALTER TABLE {table} ATTACH PARTITION {lost} {BACK[part].format(month=month, next=after)}")
    assert ids_of_checks() == []
    run("partition_history")
    assert numbers() == ([0, 1, 2] if part == "month" else [0, 1])
    run("check_history")


@pytest.mark.skipif(connection.vendor != "mysql", reason="others detach partitions")
@by_time
def test_a_dropped_last_partition_is_named_and_comes_back(client: DjangoXBlockUserStateClient) -> None:
    table = StudentModuleHistory._meta.db_table
    execute(f"ALTER TABLE {table} DROP PARTITION later")
    assert ids_of_checks() == ["xblock_user_state.W012"]
    with pytest.raises(CommandError, match=r"default history: partitions are missing: later. Bring them back"):
        run("partition_history")
    execute(f"ALTER TABLE {table} ADD PARTITION (PARTITION later VALUES LESS THAN (MAXVALUE))")
    assert ids_of_checks() == []
    assert "months added: 2" in run("partition_history", months=partitions.AHEAD + 2)


def execute(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


def in_months(number: int) -> datetime:
    return datetime.combine(months_after(this_month(), number), datetime.min.time(), UTC)


@on_a_server
def test_a_later_migration_changes_the_table(client: DjangoXBlockUserStateClient) -> None:
    add_entries(client, 1)
    field: models.Field[Any, Any] = models.IntegerField(null=True)
    field.set_attributes_from_name("extra")
    for verb in ("add_field", "remove_field"):
        for model, alias in lasting_stores("default"):
            with connections[alias].schema_editor() as editor:
                getattr(editor, verb)(model, field)
        run("partition_history", months=13 if verb == "add_field" else 14)
        add_entries(DjangoXBlockUserStateClient(), 1, start=len(numbers()))
    assert numbers() == [0, 1, 2]


@on_a_server
def test_the_checks_compare_the_setting_with_the_table(
    client: DjangoXBlockUserStateClient, kind: str, settings: Settings
) -> None:
    assert ids_of_checks() == []
    other = "learner" if kind == "time" else "time"
    for setting in (None, other):
        settings.XBLOCK_USER_STATE = {"HISTORY_PARTITIONS": setting}
        assert set(ids_of_checks()) == {"xblock_user_state.E018" if kind == "time" else "xblock_user_state.W010"}
        with pytest.raises(CommandError, match=f"partitioned by {kind}" if setting else "None"):
            run("partition_history")


@on_a_server
def test_only_an_empty_table_is_partitioned(plain: None, kind: str, settings: Settings) -> None:
    make_learners("ann")
    add_entries(DjangoXBlockUserStateClient(), 1)
    settings.XBLOCK_USER_STATE = {"HISTORY_PARTITIONS": kind}

    with pytest.raises(CommandError, match="default history: the table is plain, and has entries"):
        run("partition_history")

    assert set(ids_of_checks()) == {"xblock_user_state.W010"}
    StudentModuleHistory._base_manager.all()._raw_delete("default")
    assert f"would be partitioned by {kind}" in run("partition_history", dry_run=True)
    assert "partitioned by" in run("partition_history")
    assert ids_of_checks() == []
    assert len(made()[0].names()) == (HASHES if kind == "learner" else partitions.AHEAD + 3)


@pytest.mark.skipif(connection.vendor != "sqlite", reason="this is about SQLite")
def test_sqlite_has_no_partitions(settings: Settings) -> None:
    assert check_engines_of_partitions() == []
    settings.XBLOCK_USER_STATE = {"HISTORY_PARTITIONS": "time"}
    problems: list[CheckMessage] = check_engines_of_partitions()
    assert {problem.id for problem in problems} == {"xblock_user_state.E017"}
    with pytest.raises(CommandError, match="SQLite"):
        run("partition_history")
