"""``manage.py distribute_user_state`` runs the right statements for each state of Citus's catalogue."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.utils import OperationalError

from tests import citus
from tests.factories import make_block, make_learners
from tests.integration.citus_catalogue import catalogue, citus_catalogue, execute
from xblock_user_state.checks import check_databases
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.maintenance.distribution import Place, place_of
from xblock_user_state.models import (
    AnsweredWrite,
    Block,
    HistoryOutbox,
    HistoryWatermark,
    LearningContext,
    LoggedAction,
    Preferences,
    StudentModule,
    StudentModuleHistory,
    UserInfo,
)
from xblock_user_state.openedx.models import BlockNumber, DecodedHistory, ImportedModule

pytestmark = pytest.mark.django_db

BY_LEARNER = [
    StudentModule,
    AnsweredWrite,
    HistoryOutbox,
    HistoryWatermark,
    Preferences,
    StudentModuleHistory,
    UserInfo,
]
REFERENCES = [Block, LearningContext, BlockNumber, ImportedModule]
LOCAL = [LoggedAction, DecodedHistory]
TABLES = [model._meta.db_table for model in BY_LEARNER]
KNOWN = "SELECT citus_add_local_table_to_metadata('{}')"
REST = "SELECT create_distributed_table_concurrently('{}', 'student_id', colocate_with => '{}')"

on_postgresql = pytest.mark.skipif(citus.DIALECT != "postgresql", reason="the stand-in for Citus is on PostgreSQL")


def distribute(*arguments: str) -> list[str]:
    """Run the command, and return the lines of its output."""
    output = io.StringIO()
    call_command("distribute_user_state", *arguments, stdout=output)
    return output.getvalue().splitlines()


def statements(lines: list[str]) -> list[str]:
    return [line.partition(";")[0].strip() for line in lines if line.startswith("    ")]


@pytest.fixture
def coordinator() -> Iterator[None]:
    make_learners("ann")
    DjangoXBlockUserStateClient().set("ann", make_block(), {"a": 1})
    with citus_catalogue():
        yield


def test_the_place_of_each_table() -> None:
    """A new table of learners whose key begins with something else needs a decision, and a line here."""
    ours = [model for model in apps.get_models() if model.__module__.startswith("xblock_user_state.")]
    found = {model: place_of(model) for model in ours if model._meta.managed and not model._meta.proxy}
    of_learners = {model for model in found if any(field.attname == "student_id" for field in model._meta.fields)}
    extended = {model for model in found if model._meta.app_label == "xblock_user_state_extended_history"}
    assert {model for model in found if found[model] is Place.BY_LEARNER} == {*BY_LEARNER, *extended}
    assert {model for model in found if found[model] is Place.REFERENCE} == {*REFERENCES}
    assert {model for model in of_learners if found[model] not in (Place.BY_LEARNER, Place.REFERENCE)} == {*LOCAL}


@pytest.mark.skipif(citus.DIALECT == "citus", reason="the database has Citus")
def test_a_database_without_citus_is_an_error() -> None:
    with pytest.raises(CommandError, match="the extension citus is not in 'default'") as raised:
        distribute()
    assert raised.value.returncode == 1
    assert check_databases(databases=["default"]) == []


@on_postgresql
def test_everything_is_distributed_once(coordinator: None) -> None:
    planned = statements(distribute("--dry-run"))
    assert catalogue() == {}
    lines = distribute()
    assert statements(lines) == planned
    first = StudentModule._meta.db_table
    blocks = f"'{Block._meta.db_table}'"
    assert planned[:2] == [
        f"SELECT create_reference_table({blocks})",
        f"SELECT truncate_local_data_after_distributing_table({blocks})",
    ]
    references = [statement for statement in planned if "create_reference" in statement or "truncate" in statement]
    assert planned[: len(references)] == references
    known = len(references) + len(BY_LEARNER)
    rest = known + len(BY_LEARNER)
    assert planned[len(references) : known] == [KNOWN.format(name) for name in TABLES]
    assert planned[known:rest] == [REST.format(first, "none"), *(REST.format(name, first) for name in TABLES[1:])]
    assert KNOWN.format(LoggedAction._meta.db_table) in planned[rest:]
    found = catalogue()
    on_each_node = [model._meta.db_table for model in REFERENCES]
    assert {name: found[name] for name in (*on_each_node, *TABLES)} == {
        **dict.fromkeys(on_each_node, ("n", None, 1)),
        **dict.fromkeys(TABLES, ("h", "student_id", 2)),
    }
    assert f"default: {first}, 1 rows, unknown to Citus, to be distributed by student_id" in lines
    again = distribute()
    assert statements(again) == []
    assert again[-1].startswith("default: 0 of ")
    assert check_databases(databases=["default"]) == []


@on_postgresql
def test_it_goes_on_where_it_was_interrupted(coordinator: None) -> None:
    def fail(run: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if TABLES[2] in sql and "concurrently" in sql:
            raise OperationalError("the worker is down")
        return run(sql, params, many, context)

    with connection.execute_wrapper(fail), pytest.raises(CommandError, match=r"the worker is down\. Run .* again"):
        distribute()
    [warning] = check_databases(databases=["default"])
    assert warning.id == "xblock_user_state.W007"
    assert all(name in warning.msg for name in (*TABLES[2:], LoggedAction._meta.db_table))
    assert TABLES[1] not in warning.msg
    rest = [REST.format(name, TABLES[0]) for name in TABLES[2:]]
    assert statements(distribute())[: len(rest)] == rest
    assert check_databases(databases=["default"]) == []


ANOTHER_PLACE = f"""
    INSERT INTO pg_dist_partition SELECT oid, 'h', 'student_id', oid::int, 's' FROM pg_class
    WHERE relname IN ('{TABLES[0]}', '{TABLES[3]}')
"""  # noqa: S608 (our tables)
REFUSALS = {
    "a worker": ("UPDATE pg_dist_local_group SET groupid = 2", "leads to a worker"),
    "no worker": ("DELETE FROM pg_dist_node WHERE groupid > 0", r"has no worker; .*citus_add_node"),
    "a coordinator that nobody knows": ("DELETE FROM pg_dist_node WHERE groupid = 0", "citus_set_coordinator_host"),
    "the level of the log": ("UPDATE setting SET wal_level = 'replica'", "'logical' on each node"),
    "another column": (
        f"INSERT INTO pg_dist_partition VALUES ('{TABLES[3]}'::regclass, 'h', 'block_type', 7, 's')",  # noqa: S608
        rf"{TABLES[3]} is distributed in another way; .*undistribute_table\('{TABLES[3]}'\)",
    ),
    "another place": (ANOTHER_PLACE, f"{TABLES[3]} is not co-located with {TABLES[0]}"),
    "partitions": (
        f"CREATE TABLE {TABLES[5]} (student_id int) PARTITION BY HASH (student_id)",
        f"{TABLES[5]} of 'default' has partitions",
    ),
    "no table": (f"ALTER TABLE {TABLES[3]} RENAME TO away", f"has no table {TABLES[3]}: run migrate first"),
}


@on_postgresql
@pytest.mark.parametrize(("change", "message"), REFUSALS.values(), ids=REFUSALS)
def test_a_cluster_that_is_not_ready_is_refused_before_anything_is_done(
    coordinator: None, change: str, message: str
) -> None:
    execute(change)
    before = catalogue()
    with pytest.raises(CommandError, match=message):
        distribute()
    assert catalogue() == before
