"""Bulk writes of the ORM raise and name the client. Deletions, fixtures and migrations go on."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.apps import apps as global_apps
from django.core.management import call_command
from django.db import NotSupportedError, connection
from django.db.migrations.loader import MigrationLoader
from xblock.fields import Scope

from tests.factories import make_block, make_learners
from tests.integration.rows import STATE_MODELS, assert_history_is_gapless, everything, rows_of
from tests.integration.statements import captured
from xblock_user_state.client import DjangoXBlockUserStateClient as Client
from xblock_user_state.models import (
    HistoryOutbox,
    Preferences,
    StudentModule,
    StudentModuleHistory,
    UserInfo,
    UserStateSummary,
)

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

BLOCK = make_block()
STATES = (StudentModule, Preferences, UserInfo, UserStateSummary)
HISTORIES = (StudentModuleHistory, HistoryOutbox)
WRITES: dict[str, Callable[[Any], Any]] = {
    "update": lambda rows: rows.update(state="{}"),
    "bulk_create": lambda rows: rows.bulk_create([rows.model()]),
    "bulk_update": lambda rows: rows.bulk_update([rows.model()], ["student"]),
}


@pytest.fixture(autouse=True)
def rows() -> None:
    make_learners("ann")
    for key, scope in (
        (BLOCK, Scope.user_state),
        ("problem", Scope.preferences),
        (None, Scope.user_info),
        (BLOCK, Scope.user_state_summary),
    ):
        for number in range(3):
            Client().set("ann", key, {"attempts": number, "answer": "word " * 20}, scope)


async def write_in_coroutine(rows: Any, method: str) -> None:
    await {
        "update": lambda: rows.aupdate(state="{}"),
        "bulk_create": lambda: rows.abulk_create([]),
        "bulk_update": lambda: rows.abulk_update([], ["student"]),
    }[method]()


@pytest.mark.parametrize("method", WRITES)
@pytest.mark.parametrize("model", [*STATES, *HISTORIES])
def test_bulk_writes_raise_and_name_the_client(model: Any, method: str) -> None:
    before = everything()
    for queryset in (model.objects, model.objects.all(), model.objects.using("default").filter(pk__isnull=False)):
        with captured() as statements, pytest.raises(NotSupportedError) as raised:
            WRITES[method](queryset)
        assert statements == []
        assert str(raised.value).startswith(f"{method}() of {model.__name__} would write past revisions and history")
        assert "DjangoXBlockUserStateClient" in str(raised.value)
        with pytest.raises(NotSupportedError, match="DjangoXBlockUserStateClient"):
            async_to_sync(write_in_coroutine)(queryset, method)
    assert everything() == before


def test_the_error_says_how_a_state_is_written() -> None:
    with pytest.raises(NotSupportedError, match=r"set_many, delete_many, set_score or batch .* or load each instance"):
        StudentModule.objects.update(state='{"attempts":0}')
    for number in range(40):
        Client().set("ann", BLOCK, {"attempts": number})
    assert all(entry.state for entry in Client().get_history("ann", BLOCK))
    assert_history_is_gapless()


def test_history_entries_are_not_saved() -> None:
    entry = StudentModuleHistory.objects.get(revision=2)
    entry.grade = 1
    before = everything()
    for save in (
        entry.save,
        lambda: StudentModuleHistory(student_id=1, block_id=1, revision=1).save(),
        lambda: HistoryOutbox.objects.create(student_id=1, block_id=1, revision=0),
        lambda: StudentModuleHistory.objects.update_or_create(
            student_id=entry.student_id, revision=2, defaults={"grade": 1}
        ),
    ):
        with captured() as statements, pytest.raises(NotSupportedError, match="can't be saved: an entry is written by"):
            save()
        assert not any(text.startswith(("UPDATE", "INSERT")) for text in statements)
    assert everything() == before


def test_rows_are_deleted_with_their_history() -> None:
    StudentModule.objects.filter(student__username="ann").delete()
    Preferences.objects.get().delete()
    UserInfo.objects.all().delete()
    assert [len(rows_of(model)) for model in STATE_MODELS] == [0, 0, 0, 0, 1]


def test_fixtures_are_loaded_as_they_are(tmp_path: Path) -> None:
    fixture = tmp_path / "rows.xml"
    StudentModule._base_manager.update(done="f")
    before = everything()
    call_command("dumpdata", "xblock_user_state", "auth.user", format="xml", output=str(fixture), verbosity=0)
    for model in STATE_MODELS:
        model._base_manager.all()._raw_delete("default")
    assert everything() != before
    call_command("loaddata", str(fixture), stdout=StringIO())
    assert everything() == before
    # Over rows that are there.
    Client().set("ann", BLOCK, {"attempts": 9})
    call_command("loaddata", str(fixture), stdout=StringIO())
    assert rows_of(StudentModule) == before["StudentModule"]


def test_an_instance_that_was_saved_as_a_fixture_is_loaded() -> None:
    module = StudentModule.objects.get()
    module.state = '{"restored":1}'
    module.save_base(raw=True)
    assert Client().get("ann", BLOCK).state == {"restored": 1}
    Client().set("ann", BLOCK, {"learner": 1})
    module.state = '{"restored":2}'
    module.save()
    assert Client().get("ann", BLOCK).state == {"restored": 2, "learner": 1}


def test_migrations_write_as_django_does() -> None:
    apps = MigrationLoader(connection).project_state().apps
    model: Any = apps.get_model("xblock_user_state", "StudentModule")
    assert model.objects.update(done="i") == 1
    module = model.objects.get()
    module.done = "f"
    module.save()
    assert StudentModule.objects.get().done == "f"
    entries: Any = apps.get_model("xblock_user_state", "StudentModuleHistory").objects
    assert entries.update(version="v1") == 3


def test_proxies_are_saved_as_their_model() -> None:
    class Graded(StudentModule):
        class Meta:
            app_label = "xblock_user_state"
            proxy = True

    # So that the other tests do not see the model.
    del global_apps.all_models["xblock_user_state"]["graded"]
    global_apps.clear_cache()
    with pytest.raises(NotSupportedError, match="of Graded would write past"):
        Graded.objects.update(grade=1)
    graded = Graded.objects.get()
    Client().set("ann", BLOCK, {"learner": 1})
    graded.grade, graded.max_grade = 1, 2
    graded.save()
    assert Client().get("ann", BLOCK).state == {"attempts": 2, "answer": "word " * 20, "learner": 1}
    assert (graded.revision, StudentModule.objects.get().grade) == (5, 1)
    assert_history_is_gapless()


@pytest.mark.extended_history
def test_the_extended_history_is_closed_too() -> None:
    from xblock_user_state.extended_history.models import StudentModuleHistoryExtended  # noqa: PLC0415

    rows: Any = StudentModuleHistoryExtended.objects
    with pytest.raises(NotSupportedError, match=r"update\(\) of StudentModuleHistoryExtended"):
        rows.update(grade=1)
    with pytest.raises(NotSupportedError, match="StudentModuleHistoryExtended can't be saved"):
        rows.create(student_id=1, block_id=1, revision=1)
