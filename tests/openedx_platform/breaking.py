"""Attempts to lose a write between the two stores. `tests.integration.openedx.test_platform` runs this module."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import DatabaseError, OperationalError, connection, connections, transaction
from django.utils import timezone
from pytest_django import Settings
from xblock.fields import Scope

from tests.documentation import ROOT
from tests.factories import BY, make_learners
from tests.openedx_platform.courseware import model_data
from tests.openedx_platform.courseware.models import Override, StrictOverride, StudentModule, StudentModuleHistory
from tests.openedx_platform.courseware.user_state_client import DjangoXBlockUserStateClient as PlatformsClient
from tests.openedx_platform.grades.signals import handlers
from tests.openedx_platform.requests import (
    COURSE,
    PACKAGES,
    SCOPES,
    cache_of,
    key_of,
    make_block,
    read,
    save,
    usage_key,
)
from xblock_user_state import actions
from xblock_user_state.client import DjangoXBlockUserStateClient as Client
from xblock_user_state.interface import ServiceUnavailable
from xblock_user_state.models import StudentModule as OurModule
from xblock_user_state.openedx.models import ImportedModule, StageDifference
from xblock_user_state.openedx.numbers.arithmetic import FIRST
from xblock_user_state.openedx.platform import copying, differences, old_rows, replacements
from xblock_user_state.openedx.platform.mirror import flushed_at_the_end
from xblock_user_state.openedx.platform.served_table import on_the_platforms_tables

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

BLOCK = make_block()
KEY = usage_key(BLOCK)
SWITCH = f"{__name__}.all_courses"
Stage = Callable[..., None]


def all_courses(_: Any) -> bool:
    return True


def no_courses(_: Any) -> bool:
    return False


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replacements, "PACKAGES", PACKAGES)
    replacements.install()


@pytest.fixture
def stage(settings: Settings) -> Stage:
    def enter(name: str, **others: Any) -> None:
        settings.XBLOCK_USER_STATE = {"OPENEDX_STAGE": name, **others}

    return enter


@pytest.fixture
def ada() -> User:
    [user] = make_learners("ada")
    return user


def platforms_rows() -> list[Any]:
    with on_the_platforms_tables():
        return list(StudentModule.objects.order_by("pk"))


def our_state(user: User) -> Any:
    return next((found.state for found in Client().get_many(user.username, [KEY])), None)


def listed() -> list[tuple[str, int]]:
    return list(StageDifference.objects.order_by("field").values_list("field", "times"))


def compare(*options: str) -> str:
    """Return the words of the comparison: nothing if both stores are equal."""
    return run("compare_openedx", "--from", "default", *options)


def run(*arguments: str) -> str:
    """Run a command; return its output, with the error that ended it."""
    out = StringIO()
    try:
        call_command(*arguments, stdout=out, stderr=out)
    except CommandError as error:
        return f"{out.getvalue()}{error}"
    return out.getvalue()


def side_by_side(*calls: Callable[[], None]) -> None:
    """Run the calls in threads that begin together."""
    barrier = threading.Barrier(len(calls))

    def run(call: Callable[[], None]) -> None:
        try:
            barrier.wait(10)
            call()
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)


def test_a_list_of_differences_that_is_down_never_hurts_the_learner(
    stage: Stage, ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise DatabaseError("the list is down")

    monkeypatch.setattr(differences, "_count_one", fail)
    stage("shadow")
    StudentModule.objects.create(student=ada, module_state_key=KEY, course_id=COURSE, state="{broken")
    [row] = platforms_rows()
    assert row.state == "{broken"


def test_a_difference_is_mended_though_it_can_not_be_listed(
    stage: Stage, ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise DatabaseError("the list is down")

    monkeypatch.setattr(differences, "_count_one", fail)
    stage("shadow")
    save(ada, BLOCK, answer="red")
    Client().set("ada", KEY, {"answer": "red", "more": 1})
    save(ada, BLOCK, answer="blue")
    assert our_state(ada) == {"answer": "blue"}


def test_a_value_that_a_block_goes_on_changing_is_no_difference(stage: Stage, ada: User) -> None:
    stage("shadow")
    value = [1]
    with flushed_at_the_end():
        save(ada, BLOCK, answer=value)
        value.append(2)
    assert our_state(ada) == {"answer": [1]}
    assert listed() == []


def test_a_request_that_writes_by_page_and_by_model_loses_neither_where_there_is_a_switch(
    stage: Stage, ada: User
) -> None:
    stage("lead", OPENEDX_COURSES=SWITCH)
    with flushed_at_the_end():
        save(ada, BLOCK, answer="red")
        StudentModule.objects.update_or_create(
            student=ada, module_state_key=KEY, course_id=COURSE, defaults={"grade": 1, "max_grade": 2}
        )
        assert read(ada, BLOCK, "answer") == "red"
        save(ada, BLOCK, other="x")
    assert our_state(ada) == {"answer": "red", "other": "x"}
    assert handlers.get_score(ada.pk, KEY)[:2] == (1, 2)
    [row] = platforms_rows()
    assert (json.loads(row.state), row.grade) == ({"answer": "red", "other": "x"}, 1)


@pytest.mark.parametrize("name", ["shadow", "lead"])
def test_the_comparison_is_silent_after_all_kinds_of_writes(stage: Stage, ada: User, name: str) -> None:
    stage(name)
    for scope in SCOPES:
        save(ada, BLOCK, scope, zebra="ü", answer=[1, {"b": 2, "a": 1.5}])
        save(ada, BLOCK, scope, answer=None, more=True)
    handlers.set_score(ada.pk, KEY, 1, 2)
    handlers.set_score(ada.pk, usage_key(make_block("two")), 0.1, 3)
    three, four = usage_key(make_block("three")), usage_key(make_block("four"))
    PlatformsClient(ada).set_many("ada", {three: {"a": 1}})
    PlatformsClient(ada).delete_many("ada", [three])
    StudentModule.objects.create(student=ada, module_state_key=four, course_id=COURSE, state=None)
    StudentModule.objects.filter(module_state_key=four).update(state="{}", done="f")
    module = StudentModule.objects.get(module_state_key=four)
    module.state, module.done = '{"a": 1}', "i"
    module.save()
    cache_of(ada, BLOCK).delete(key_of(BLOCK, ada, Scope.user_state))
    assert compare() == ""
    assert listed() == []


def test_going_back_from_lead_leaves_the_old_tables_complete_with_history(stage: Stage, ada: User) -> None:
    expected = []
    for number, name in enumerate(["off", "shadow", "lead", "lead", "shadow", "off"]):
        stage(name)
        save(ada, BLOCK, answer=number)
        handlers.set_score(ada.pk, KEY, number, 10)
        expected += [(number, max(0, number - 1) if number else None), (number, number)]
        if name != "off":
            assert compare() == ""
    with on_the_platforms_tables():
        [row] = StudentModule.objects.all()
        history = [
            (json.loads(entry.state)["answer"], entry.grade) for entry in StudentModuleHistory.objects.order_by("pk")
        ]
    assert (json.loads(row.state), row.grade, row.max_grade) == ({"answer": 5}, 5, 10)
    assert history == expected


def test_a_reference_made_at_shadow_holds_at_lead(stage: Stage, ada: User) -> None:
    stage("shadow")
    save(ada, BLOCK, answer="red")
    override = Override.objects.create(module=StudentModule.objects.get())
    stage("lead")
    assert Override.objects.select_related("module").get(module__student=ada).module.student == ada
    assert StudentModule.objects.get().pk == override.module_id


def test_a_reference_made_at_lead_holds_at_every_other_stage(stage: Stage, ada: User) -> None:
    stage("lead")
    identity: Any = {"student": ada, "module_state_key": KEY, "course_id": COURSE}
    with flushed_at_the_end(), transaction.atomic():
        # As bulk_grades does it.
        module, _ = StudentModule.objects.update_or_create(**identity, defaults={"grade": 1, "max_grade": 2})
        Override.objects.create(module=module)
        StrictOverride.objects.create(module=module)
    for name in ("lead", "shadow", "off", "alone"):
        stage(name)
        assert StudentModule.objects.get().pk == module.pk
        for model in (Override, StrictOverride):
            assert model.objects.select_related("module").get(module__student=ada).module.grade == 1
    stage("lead")
    assert compare() == ""
    StudentModule.objects.get(pk=module.pk).delete()
    assert not Override.objects.exists()
    assert not StrictOverride.objects.exists()
    assert platforms_rows() == []


def test_a_row_that_a_page_begins_at_lead_has_the_id_of_its_copy(stage: Stage, ada: User) -> None:
    stage("lead")
    save(ada, BLOCK, answer="red")
    [module] = platforms_rows()
    assert StudentModule.objects.get().pk == module.pk
    StrictOverride.objects.create(module=StudentModule.objects.get())
    # A row that is deleted and begun again has another id in both stores.
    StudentModule.objects.get().delete()
    save(ada, BLOCK, answer="red")
    [other] = platforms_rows()
    assert StudentModule.objects.get().pk == other.pk
    assert ImportedModule.objects.count() == 1
    assert run("import_openedx", "--from", "default", "--verify").endswith("1 rows with 1 entries were checked.\n")


def test_a_new_row_that_is_rolled_back_at_lead_leaves_no_id(stage: Stage, ada: User) -> None:
    stage("lead")
    with transaction.atomic():
        StudentModule.objects.create(student=ada, module_state_key=KEY, course_id=COURSE)
        transaction.set_rollback(True)
    assert platforms_rows() == []
    assert not OurModule.objects.exists()
    assert not ImportedModule.objects.exists()


def test_a_new_row_that_can_not_be_copied_at_lead_has_its_own_number(
    stage: Stage, ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise DatabaseError("the second store is down")

    stage("lead")
    monkeypatch.setattr(copying, "copy_there", fail)
    with transaction.atomic():
        module = StudentModule.objects.create(student=ada, module_state_key=KEY, course_id=COURSE, grade=1)
    assert module.pk >= FIRST
    assert StudentModule.objects.get(pk=module.pk).grade == 1


@pytest.mark.parametrize("name", ["shadow", "lead"])
def test_deleting_a_user_leaves_no_row_in_either_store(stage: Stage, ada: User, name: str) -> None:
    stage(name)
    for scope in SCOPES:
        save(ada, BLOCK, scope, answer="red")
    ada.delete()
    assert platforms_rows() == []
    assert not OurModule.objects.exists()
    with on_the_platforms_tables():
        assert not StudentModuleHistory.objects.exists()


@pytest.mark.parametrize("name", ["shadow", "lead"])
def test_concurrent_first_writes_leave_both_stores_equal(stage: Stage, name: str) -> None:
    stage(name)
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    for round_ in range(8):
        [user] = make_learners(f"learner{round_}")

        def write(field: str, user: User = user) -> None:
            PlatformsClient(user).set_many(user.username, {KEY: {field: 1}})

        if name == "shadow":
            # The platform loses updates by itself: its rows are read and written apart.
            write("first")
        side_by_side(*(lambda field=field: write(field) for field in "abcd"))
    assert compare() == ""


def test_writers_lose_nothing_while_the_stage_changes(stage: Stage, settings: Settings) -> None:
    users = make_learners("ada", "ben", "cal")
    stop = threading.Event()
    written: dict[str, int] = {}
    errors: list[Exception] = []

    def write(user: User) -> None:
        number = 0
        while not stop.is_set() and number < 400:
            number += 1
            try:
                with flushed_at_the_end():
                    save(user, BLOCK, **{f"field{number % 7}": number})
                written[user.username] = number
            except Exception as error:  # noqa: BLE001 (the test shows it)
                errors.append(error)
                return

    def switch() -> None:
        for name in ["shadow", "lead", "shadow", "lead", "shadow"] * 2:
            settings.XBLOCK_USER_STATE = {"OPENEDX_STAGE": name}
            stop.wait(0.3)
        stop.set()

    stage("shadow")
    side_by_side(switch, *(lambda user=user: write(user) for user in users))
    assert errors == []
    assert compare() == ""
    for user in users:
        last = written[user.username]
        expected = {f"field{number % 7}": number for number in range(max(1, last - 6), last + 1)}
        assert our_state(user) == expected


def test_a_copy_that_meets_a_deadlock_is_made_again(stage: Stage, ada: User, monkeypatch: pytest.MonkeyPatch) -> None:
    codes: dict[str, dict[str, Any]] = {"postgresql": {"sqlstate": "40P01"}, "sqlite": {"sqlite_errorcode": 5}}
    original, calls = copying.copy_here, []

    def copy(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) > 1:
            return original(*arguments)
        database: Any = connection
        driver = database.Database.OperationalError(1213, "deadlock")
        for name, value in codes.get(connection.vendor, {}).items():
            setattr(driver, name, value)
        error = OperationalError(1213, "deadlock")
        error.__cause__ = driver
        # As a client raises it.
        raise ServiceUnavailable from error

    monkeypatch.setattr(copying, "copy_here", copy)
    stage("shadow")
    save(ada, BLOCK, answer="red")
    assert our_state(ada) == {"answer": "red"}
    assert len(calls) == 2


def test_the_lock_of_a_missing_row_is_none(stage: Stage, ada: User) -> None:
    """The platform's row may be made between the lock, which finds none, and the copy."""
    stage("lead")
    original = old_rows.locked
    calls = []

    def late(address: Any) -> list[Any]:
        found = original(address)
        calls.append(address)
        if len(calls) == 1:
            StudentModule._base_manager.create(
                student=ada, module_state_key=KEY, course_id=COURSE, module_type="problem", state='{"answer": "old"}'
            )
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(old_rows, "locked", late)
        save(ada, BLOCK, answer="red")
    [row] = platforms_rows()
    assert json.loads(row.state) == {"answer": "red"}


def test_copies_that_failed_at_lead_are_made_up_for_before_the_way_back(
    stage: Stage, ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise DatabaseError("the second store is down")

    stage("lead")
    before = timezone.now()
    with monkeypatch.context() as patch:
        # A process that is killed between commit and copy leaves the same.
        patch.setattr(copying, "copy_there", fail)
        for scope in SCOPES:
            save(ada, BLOCK, scope, answer="red")
        handlers.set_score(ada.pk, KEY, 1, 2)
    assert platforms_rows() == []
    assert compare() != ""
    assert run("openedx_stage", "--copy-back", before.isoformat()) == "4 rows were copied to the platform's tables\n"
    assert compare() == ""
    # A row that is equal gets no other history entry.
    run("openedx_stage", "--copy-back", before.isoformat())
    with on_the_platforms_tables():
        assert StudentModuleHistory.objects.count() == 1
    stage("shadow")
    assert [read(ada, BLOCK, "answer", scope) for scope in SCOPES] == ["red"] * 4
    assert "only at lead" in run("openedx_stage", "--copy-back", before.isoformat())
    stage("lead")
    assert "it must be a time" in run("openedx_stage", "--copy-back", "noon")
    # The newer row of a course that the switch leaves out is the platform's.
    stage("lead", OPENEDX_COURSES=f"{__name__}.no_courses")
    assert "2 rows" in run("openedx_stage", "--copy-back", before.isoformat())


def test_the_stage_and_all_that_is_replaced_are_shown(stage: Stage, ada: User, monkeypatch: pytest.MonkeyPatch) -> None:
    stage("shadow", OPENEDX_COURSES=SWITCH)
    save(ada, BLOCK, answer="red")
    Client().set("ada", KEY, {"more": 1})
    save(ada, BLOCK, answer="blue")
    shown = run("openedx_stage")
    assert shown.startswith("stage shadow: the platform's tables serve")
    assert f"courses: {SWITCH}" in shown
    assert "fields that have differed: 1" in shown
    assert f"user_state {KEY}: more, 1 times" in shown
    assert shown.count(": replaced. ") == len(replacements.REPLACEMENTS)
    assert "StudentModule: changed in place." in shown
    monkeypatch.delattr(model_data, "get_score")
    shown = run("openedx_stage")
    assert "get_score: missing." in shown
    assert "this version of the platform is not known" in shown


@pytest.mark.parametrize("name", ["shadow", "lead"])
def test_what_would_change_one_store_only_is_refused(stage: Stage, ada: User, name: str) -> None:
    stage(name)
    save(ada, BLOCK, answer="red")
    refused: list[Callable[[], object]] = [
        lambda: actions.delete_block(KEY, **BY),
        lambda: actions.delete_course(COURSE, **BY),
        lambda: actions.delete_learner(ada),
        lambda: actions.move_state(KEY, usage_key(make_block("two")), **BY),
    ]
    for action in refused:
        with pytest.raises(RuntimeError, match="OPENEDX_STAGE"):
            action()
    assert compare() == ""
    stage("alone")
    assert actions.delete_learner(ada).states == 1


@pytest.mark.parametrize(("name", "copy"), [("shadow", "copy_here"), ("lead", "copy_there")])
def test_a_process_that_is_killed_between_commit_and_copy_loses_nothing(
    stage: Stage, ada: User, child_environment: dict[str, str], name: str, copy: str
) -> None:
    stage(name)
    save(ada, BLOCK, answer="old")
    before = timezone.now()
    script = (
        "import os, signal\n"
        "from xblock_user_state.openedx.platform import copying, replacements\n"
        "from django.conf import settings\n"
        "from django.contrib.auth.models import User\n"
        f"settings.XBLOCK_USER_STATE = {{'OPENEDX_STAGE': '{name}'}}\n"
        f"replacements.PACKAGES = {PACKAGES}\n"
        "replacements.install()\n"
        f"copying.{copy} = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "from tests.openedx_platform.requests import make_block, save\n"
        "save(User.objects.get(), make_block(), answer='new')\n"
    )
    environment = {**child_environment, "DJANGO_SETTINGS_MODULE": "tests.openedx_platform.settings"}
    command = [sys.executable, "-c", f"import django\ndjango.setup()\n{script}"]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert read(ada, BLOCK, "answer") == "new"
    assert "answer" in compare()
    if name == "lead":
        run("openedx_stage", "--copy-back", before.isoformat())
    else:
        # The next write repairs the row, and lists the field.
        save(ada, BLOCK, other="x")
        assert listed() == [("answer", 1)]
    assert compare() == ""


@pytest.mark.parametrize(("name", "model"), [("shadow", OurModule), ("lead", StudentModule)])
def test_a_table_of_the_second_store_that_is_gone_never_hurts_the_learner(
    stage: Stage, ada: User, name: str, model: Any
) -> None:
    stage(name)
    save(ada, BLOCK, answer="old")
    before = timezone.now()
    with on_the_platforms_tables():
        table = model._meta.db_table
    rename(table, "gone")
    try:
        with flushed_at_the_end():
            save(ada, BLOCK, answer="red")
            handlers.set_score(ada.pk, KEY, 1, 2)
        assert read(ada, BLOCK, "answer") == "red"
        assert handlers.get_score(ada.pk, KEY).grade == 1
    finally:
        rename("gone", table)
    if name == "lead":
        run("openedx_stage", "--copy-back", before.isoformat())
    else:
        save(ada, BLOCK, answer="blue")
    assert compare() == ""


def rename(old: str, new: str) -> None:
    quote = connection.ops.quote_name
    with connection.cursor() as cursor:
        # SQLite would check the views that read the table.
        if connection.vendor == "sqlite":
            cursor.execute("PRAGMA legacy_alter_table = ON")
        cursor.execute(f"ALTER TABLE {quote(old)} RENAME TO {quote(new)}")
