"""The views under the platform's names: their columns, their fields, and what creates and drops them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import StringIO
from types import SimpleNamespace
from typing import Any

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models.signals import post_migrate, pre_migrate
from django.db.utils import Error
from xblock.fields import Scope

from tests.factories import COURSE, make_block, make_learners
from xblock_user_state.client import DjangoXBlockUserStateClient as Client
from xblock_user_state.models import Preferences, StudentModule
from xblock_user_state.openedx.models import BlockNumber
from xblock_user_state.openedx.views import own, statements
from xblock_user_state.openedx.views.statements import Place

pytestmark = pytest.mark.django_db(transaction=True)

BLOCK = make_block()
MODULE = ["id", "module_type", "module_id", "course_id", "state", "grade", "max_grade", "done", "created", "modified"]
FIELD = ["id", "field_name", "value", "created", "modified"]
VIEWS = {
    "courseware_studentmodule": [*MODULE, "student_id", "block_id"],
    "courseware_xmodulestudentprefsfield": [*FIELD, "module_type", "student_id"],
    "courseware_xmodulestudentinfofield": [*FIELD, "student_id"],
    "courseware_xmoduleuserstatesummaryfield": [*FIELD, "usage_id"],
}
PREFERENCES = "courseware_xmodulestudentprefsfield"


def run(*arguments: str) -> str:
    output = StringIO()
    call_command("openedx_views", *arguments, stdout=output)
    return output.getvalue()


def rows(sql: str) -> list[dict[str, Any]]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def execute(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


@pytest.fixture
def learner() -> Any:
    [user] = make_learners("ada")
    return user


@pytest.fixture
def views() -> Iterator[str]:
    yield run()
    run("--drop")


@pytest.mark.usefixtures("views", "learner")
def test_views_have_the_old_columns_in_their_order() -> None:
    Client().set_many("ada", {BLOCK: {"a": 1}})
    for name, columns in VIEWS.items():
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT * FROM {name}")
            assert [column[0] for column in cursor.description] == columns
    [row] = rows("SELECT * FROM courseware_studentmodule")
    assert (row["module_type"], row["module_id"], row["course_id"]) == ("problem", str(BLOCK), str(COURSE))
    assert rows("SELECT grade, COUNT(student_id) AS number FROM courseware_studentmodule GROUP BY grade") == [
        {"grade": None, "number": 1}
    ]


@pytest.mark.usefixtures("views")
def test_each_field_is_a_row(learner: Any) -> None:
    state = {
        "text": 'a "b"',
        "list": [1, {"c": None}],
        "none": None,
        "true": True,
        "big": 10**30,
        "q\"'\\": 1.0,
        "é": 2,
    }
    Client().set("ada", "problem", state, Scope.preferences)
    Client().set("ada", None, {"seen": False}, Scope.user_info)
    Client().set(None, BLOCK, {"tally": {"x": 3}}, Scope.user_state_summary)
    found = rows(f"SELECT * FROM {PREFERENCES}")
    assert {row["field_name"]: json.loads(row["value"]) for row in found} == state
    assert {(row["module_type"], row["student_id"], row["id"]) for row in found} == {("problem", learner.pk, None)}
    [row] = rows("SELECT * FROM courseware_xmodulestudentinfofield")
    assert (row["field_name"], row["value"], row["student_id"]) == ("seen", "false", learner.pk)
    [row] = rows("SELECT * FROM courseware_xmoduleuserstatesummaryfield")
    assert (row["field_name"], json.loads(row["value"]), row["usage_id"]) == ("tally", {"x": 3}, str(BLOCK))


@pytest.mark.usefixtures("views", "learner")
@pytest.mark.parametrize("text", ['{"a":NaN}', '{"a":-Infinity}', "broken", "[1]", '"text"', ""])
def test_a_text_that_the_database_can_not_split_appears_whole(text: str) -> None:
    Client().set("ada", "problem", {"a": 1}, Scope.preferences)
    Client().set("ada", "video", {"b": 2}, Scope.preferences)
    Preferences._base_manager.filter(block_type="problem").update(state=text)
    found = rows(f"SELECT field_name, value FROM {PREFERENCES} ORDER BY module_type")
    assert found == [{"field_name": None, "value": text}, {"field_name": "b", "value": "2"}]


@pytest.mark.usefixtures("views", "learner")
@pytest.mark.parametrize("value", ["\x00", "\ud800", "😀"])
def test_no_text_is_lost(value: str) -> None:
    Client().set("ada", "problem", {"a": value}, Scope.preferences)
    [row] = rows(f"SELECT field_name, value FROM {PREFERENCES}")
    assert json.loads(row["value"]) in (value, {"a": value})
    assert (row["field_name"] is None) == (json.loads(row["value"]) != value)


@pytest.mark.usefixtures("views", "learner")
def test_deleted_states_have_no_fields() -> None:
    Client().set("ada", "problem", {"a": 1}, Scope.preferences)
    Client().delete("ada", "problem", Scope.preferences)
    Preferences._base_manager.create(
        student_id=Preferences.objects.get().student_id,
        block_type="video",
    )
    assert rows(f"SELECT * FROM {PREFERENCES}") == []


def test_the_command_can_be_repeated_and_undone(views: str) -> None:
    assert run() == views
    for name in VIEWS:
        assert f"created {name}\n" in views
    assert run("--drop").splitlines() == [f"dropped {name}" for name in VIEWS]
    assert run("--drop") == ""


def test_a_table_of_the_name_is_left_alone() -> None:
    execute("CREATE TABLE courseware_xmodulestudentinfofield (id integer)")
    try:
        for arguments in ([], ["--drop"]):
            with pytest.raises(CommandError, match="courseware_xmodulestudentinfofield is a table, and stays"):
                run(*arguments)
        assert rows("SELECT * FROM courseware_xmodulestudentinfofield") == []
        with pytest.raises(Error):
            execute("SELECT 1 FROM courseware_studentmodule")
        assert "created new_courseware_studentmodule\n" in run("--prefix", "new_")
        assert rows("SELECT * FROM new_courseware_xmodulestudentinfofield") == []
        assert len(run("--prefix", "new_", "--drop").splitlines()) == len(VIEWS)
    finally:
        execute("DROP TABLE courseware_xmodulestudentinfofield")


def test_a_view_of_somebody_else_is_left_alone() -> None:
    execute("CREATE VIEW courseware_studentmodule AS SELECT 1 AS one")
    try:
        with pytest.raises(CommandError, match="courseware_studentmodule is a view of somebody else"):
            run()
        assert rows("SELECT * FROM courseware_studentmodule") == [{"one": 1}]
    finally:
        execute("DROP VIEW courseware_studentmodule")


def test_views_stand_in_another_schema() -> None:
    if connection.vendor == "sqlite":
        with pytest.raises(CommandError, match="use --prefix"):
            run("--schema", "reports")
        return
    # A name of its own, because MariaDB's schemas are databases.
    schema = f"reports_{connection.settings_dict['NAME']}"
    execute(f"CREATE SCHEMA {schema}")
    try:
        assert f"created {schema}.courseware_studentmodule\n" in run("--schema", schema)
        assert rows(f"SELECT * FROM {schema}.courseware_studentmodule") == []
        run("--schema", schema, "--drop")
    finally:
        execute(f"DROP SCHEMA {schema}")


@pytest.mark.usefixtures("learner")
def test_blocks_of_a_host_without_the_app_get_numbers() -> None:
    Client().set("ada", BLOCK, {"a": 1})
    BlockNumber.objects.all().delete()
    run("--prefix", "x_")
    try:
        [row] = rows("SELECT id FROM x_courseware_studentmodule")
        assert row["id"] == 2**52 + StudentModule.objects.get().student_id * 2**24 + BlockNumber.objects.get().number
    finally:
        run("--prefix", "x_", "--drop")


def _own_views() -> list[str]:
    """Return the names of the models' views that are there."""
    places = map(Place, (own.STUDENT_MODULE, *own.FIELDS.values()))
    return [place.name for place in places if statements.exists(connection, place)]


def test_migrations_drop_the_views_of_the_models_and_create_them_again() -> None:
    every = [own.STUDENT_MODULE, *own.FIELDS.values()]
    assert _own_views() == every
    config = apps.get_app_config("xblock_user_state_openedx")
    other, ours = SimpleNamespace(app_label="auth"), SimpleNamespace(app_label="xblock_user_state")
    for plan, left in ([(other, False)], every), ([(other, False), (ours, False)], []):
        pre_migrate.send(config, app_config=config, using="default", plan=plan)
        assert _own_views() == left
    post_migrate.send(config, app_config=config, using="default", plan=[])
    assert _own_views() == every
    # A release may add a view to those that are there.
    statements.drop(connection, Place(every[-1]))
    post_migrate.send(config, app_config=config, using="default", plan=[])
    assert _own_views() == every


@pytest.mark.usefixtures("learner")
def test_the_models_views_of_fields_are_not_those_of_the_command() -> None:
    Client().set("ada", "problem", {"a": 1, "b": [2]}, Scope.preferences)
    [view] = [name for old, name in own.FIELDS.items() if old == PREFERENCES]
    found = rows(f"SELECT field_name, value FROM {view} WHERE module_type = 'problem' ORDER BY field_name")
    assert [(row["field_name"], json.loads(row["value"])) for row in found] == [("a", 1), ("b", [2])]
    # They stay when those of the command go.
    run()
    run("--drop")
    assert len(rows(f"SELECT * FROM {view}")) == 2


@pytest.mark.skipif(connection.vendor != "sqlite", reason="the other databases can split a state")
def test_an_old_sqlite_has_the_view_of_states_only(monkeypatch: pytest.MonkeyPatch) -> None:
    config = apps.get_app_config("xblock_user_state_openedx")
    plan = [(SimpleNamespace(app_label="xblock_user_state"), False)]
    pre_migrate.send(config, app_config=config, using="default", plan=plan)
    with monkeypatch.context() as patch:
        patch.setattr("sqlite3.sqlite_version_info", (3, 37, 2))
        post_migrate.send(config, app_config=config, using="default", plan=[])
        assert _own_views() == [own.STUDENT_MODULE]
    post_migrate.send(config, app_config=config, using="default", plan=[])
    assert len(_own_views()) == 4
