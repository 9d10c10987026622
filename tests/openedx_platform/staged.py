"""The stages on a stand-in for the platform. `tests.integration.openedx.test_platform` runs this module.

The stand-in's tables are in the database of learner state, as on a real site.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.db import DatabaseError, IntegrityError, NotSupportedError, transaction
from django.db.models import CASCADE
from django.utils.module_loading import import_string
from opaque_keys.edx.keys import CourseKey
from pytest_django import Settings
from xblock.fields import Scope

from tests.factories import make_learners
from tests.openedx_platform.courseware import model_data
from tests.openedx_platform.courseware.models import (
    BaseStudentModuleHistory,
    Override,
    StudentModule,
    StudentModuleHistory,
    XModuleStudentInfoField,
    XModuleStudentPrefsField,
    XModuleUserStateSummaryField,
)
from tests.openedx_platform.courseware.user_state_client import DjangoXBlockUserStateClient as PlatformsClient
from tests.openedx_platform.grades import tasks
from tests.openedx_platform.grades.signals import handlers
from tests.openedx_platform.requests import (
    COURSE,
    OTHER_COURSE,
    PACKAGES,
    SCOPES,
    cache_of,
    key_of,
    make_block,
    read,
    run_handler,
    save,
    usage_key,
)
from tests.openedx_platform.xblock.rest_api import views
from xblock_user_state.client import DjangoXBlockUserStateClient as Client
from xblock_user_state.models import StudentModule as OurModule
from xblock_user_state.models import UserInfo
from xblock_user_state.openedx.models import StageDifference
from xblock_user_state.openedx.platform import copying, replacements
from xblock_user_state.openedx.platform.mirror import flushed_at_the_end
from xblock_user_state.openedx.platform.served_table import on_the_platforms_tables

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

BLOCK = make_block()
KEY = usage_key(BLOCK)
TABLES: dict[Scope, Any] = {
    Scope.preferences: XModuleStudentPrefsField,
    Scope.user_info: XModuleStudentInfoField,
    Scope.user_state_summary: XModuleUserStateSummaryField,
}
Stage = Callable[..., None]


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


def only_stars(course_key: CourseKey) -> bool:
    return course_key == COURSE


SWITCH = f"{__name__}.only_stars"


def platforms_state(user: User, block: Any = BLOCK) -> Any:
    """Return the state in the platform's table; ``None`` without a row."""
    with on_the_platforms_tables():
        row = StudentModule.objects.filter(student=user, module_state_key=usage_key(block)).first()
    return row and json.loads(row.state or "null")


def our_state(user: User, block: Any = BLOCK, scope: Scope = Scope.user_state) -> Any:
    owner = {Scope.preferences: "problem", Scope.user_info: None}.get(scope, usage_key(block))
    found = list(Client().get_many(user.username, [owner], scope))
    return found[0].state if found else None


def our_history(user: User, block: Any = BLOCK) -> list[Any]:
    return list(Client().get_history(user.username, usage_key(block)))


def differences() -> list[tuple[str, int]]:
    return list(StageDifference.objects.order_by("field").values_list("field", "times"))


@pytest.mark.parametrize(
    ("name", "has_theirs", "has_ours"),
    [("off", True, False), ("shadow", True, True), ("lead", True, True), ("alone", False, True)],
)
@pytest.mark.parametrize("scope", SCOPES)
def test_a_field_is_read_back_and_is_in_the_stores_of_the_stage(
    stage: Stage, ada: User, scope: Scope, name: str, has_theirs: bool, has_ours: bool
) -> None:
    stage(name)
    save(ada, BLOCK, scope, answer="red")
    assert read(ada, BLOCK, "answer", scope) == "red"
    assert (our_state(ada, scope=scope) is not None) == has_ours
    with on_the_platforms_tables():
        assert TABLES.get(scope, StudentModule).objects.exists() == has_theirs
    save(ada, BLOCK, scope, answer="blue", other="x")
    assert read(ada, BLOCK, "answer", scope) == "blue"
    if has_ours:
        assert our_state(ada, scope=scope) == {"answer": "blue", "other": "x"}
    assert differences() == []


@pytest.mark.parametrize("name", ["shadow", "lead", "alone"])
def test_a_deleted_field_is_gone_in_both_stores(stage: Stage, ada: User, name: str) -> None:
    stage(name)
    for scope in SCOPES:
        save(ada, BLOCK, scope, answer="red", other="x")
        cache = cache_of(ada, BLOCK)
        cache.delete(key_of(BLOCK, ada, scope))
        assert our_state(ada, scope=scope) == {"other": "x"}
        if name != "alone" and scope in TABLES:
            assert [row.field_name for row in TABLES[scope].objects.all()] == ["other"]
    if name != "alone":
        assert platforms_state(ada) == {"other": "x"}
    assert differences() == []


@pytest.mark.parametrize("name", ["shadow", "lead", "alone"])
def test_scores_are_in_both_stores_and_have_the_rows_time(stage: Stage, ada: User, name: str) -> None:
    stage(name)
    modified = handlers.set_score(ada.pk, KEY, 3, 4)
    found = tasks.get_score(ada.pk, KEY)
    assert (found.grade, found.max_grade) == (3, 4)
    assert found.modified >= modified
    assert tasks.get_score(ada, KEY).grade == 3
    scores = model_data.ScoresClient(COURSE, ada.pk)
    scores.fetch_scores([KEY])
    assert scores.get(KEY)[:2] == (3, 4)
    assert scores.get(KEY).created <= modified
    assert Client().get_scores("ada", [KEY])[KEY][:2] == (3, 4)
    if name != "alone":
        with on_the_platforms_tables():
            assert StudentModule.objects.get().grade == 3
    assert differences() == []


def test_a_score_of_nobody_is_none_and_a_row_without_one_has_its_time(stage: Stage, ada: User) -> None:
    stage("alone")
    assert handlers.get_score(ada.pk, KEY) is None
    save(ada, BLOCK, answer="red")
    found = handlers.get_score(ada.pk, KEY)
    assert (found.grade, found.max_grade) == (None, None)
    assert found.modified == Client().get("ada", KEY).updated


@pytest.mark.parametrize("name", ["shadow", "lead", "alone"])
def test_a_handler_that_saves_score_and_fields_apart_makes_one_history_entry(
    stage: Stage, ada: User, name: str
) -> None:
    stage(name)

    def handler(*_: Any) -> Any:
        modified = handlers.set_score(ada.pk, KEY, 1, 2)
        # The task of grades waits until the row is as new as this.
        assert handlers.get_score(ada.pk, KEY).modified >= modified
        # Where tasks run at once, grades are computed before the unit is committed.
        scores = model_data.ScoresClient(COURSE, ada.pk)
        scores.fetch_scores([KEY])
        assert scores.get(KEY)[:2] == (1, 2)
        assert scores.get(KEY).created is not None
        save(ada, BLOCK, answer="red")
        assert read(ada, BLOCK, "answer") == "red"
        return "done"

    assert run_handler(handler) == "done"
    [entry] = our_history(ada)
    assert (entry.state, entry.score[:2]) == ({"answer": "red"}, (1, 2))
    assert differences() == []


def test_a_handler_of_a_librarys_block_is_one_change_too(stage: Stage, ada: User) -> None:
    stage("alone")

    def handler(*_: Any) -> None:
        handlers.set_score(ada.pk, KEY, 1, 2)
        save(ada, BLOCK, answer="red")

    views.xblock_handler(None, "", "", KEY, handler)
    assert len(our_history(ada)) == 1
    # Decorators of the view have left their marks.
    assert vars(views.xblock_handler)["csrf_exempt"]


def test_a_handler_that_fails_changes_nothing(stage: Stage, ada: User) -> None:
    stage("alone")

    def handler(*_: Any) -> None:
        handlers.set_score(ada.pk, KEY, 1, 2)
        save(ada, BLOCK, answer="red")
        raise LookupError

    with pytest.raises(LookupError):
        run_handler(handler)
    assert our_state(ada) is None
    assert handlers.get_score(ada.pk, KEY) is None


def test_a_handler_may_save_for_several_learners(stage: Stage, ada: User) -> None:
    stage("alone")
    [ben] = make_learners("ben")

    def handler(*_: Any) -> None:
        save(ada, BLOCK, answer="red")
        save(ben, BLOCK, answer="blue")
        handlers.set_score(ben.pk, KEY, 1, 2)

    run_handler(handler)
    assert (our_state(ada), our_state(ben)) == ({"answer": "red"}, {"answer": "blue"})
    assert len(our_history(ben)) == 1


@pytest.mark.parametrize("name", ["lead", "alone"])
def test_what_a_visitor_writes_is_dropped_except_for_what_all_share(stage: Stage, name: str) -> None:
    stage(name)
    nobody = AnonymousUser()
    cache = cache_of(nobody, BLOCK)
    for scope in SCOPES:
        cache.set_many({key_of(BLOCK, nobody, scope): "red"})
        # The page of the request shows it all the same.
        assert cache.get(key_of(BLOCK, nobody, scope)) == "red"
    assert not OurModule.objects.exists()
    assert Client().get(None, KEY, Scope.user_state_summary).state == {"answer": "red"}


def test_what_a_crawler_writes_is_dropped(stage: Stage, ada: User) -> None:
    stage("alone")
    cache_of(ada, BLOCK, read_only=True).set_many({key_of(BLOCK, ada, Scope.user_state): "red"})
    assert our_state(ada) is None


def test_a_field_that_was_not_prefetched_is_absent(stage: Stage, ada: User) -> None:
    stage("alone")
    save(ada, BLOCK, answer="red")
    other = make_block("two")
    with pytest.raises(KeyError):
        cache_of(ada, other).get(key_of(BLOCK, ada, Scope.user_state))


@pytest.mark.parametrize("name", ["off", "shadow", "lead", "alone"])
def test_the_platforms_client_works_at_every_stage(stage: Stage, ada: User, name: str) -> None:
    stage(name)
    client = PlatformsClient(ada)
    client.set_many("ada", {KEY: {"answer": "red", "other": 1}})
    client.delete_many("ada", [KEY], fields=["other"])
    assert client.get("ada", KEY).state == {"answer": "red"}
    assert [found.state for found in client.get_history("ada", KEY)] == [
        {"answer": "red"},
        {"answer": "red", "other": 1},
    ]
    assert [found.username for found in client.iter_all_for_block(KEY)] == ["ada"]
    assert [found.username for found in client.iter_all_for_course(COURSE)] == ["ada"]
    assert differences() == []


def test_errors_of_the_platforms_client_are_its_own(stage: Stage, ada: User) -> None:
    stage("alone")
    with pytest.raises(PlatformsClient.DoesNotExist):
        PlatformsClient(ada).get("ada", KEY)
    with pytest.raises(PlatformsClient.DoesNotExist):
        list(PlatformsClient(ada).get_history("ada", KEY))
    with pytest.raises(ValueError, match=r"Scope\.user_state"):
        list(PlatformsClient(ada).get_many("ada", [KEY], Scope.user_info))


@pytest.mark.parametrize("name", ["off", "shadow", "lead", "alone"])
def test_the_model_works_at_every_stage(stage: Stage, ada: User, name: str) -> None:
    stage(name)
    identity: Any = {"student": ada, "module_state_key": KEY, "course_id": COURSE}
    row, was_created = StudentModule.objects.get_or_create(
        **identity, defaults={"state": "{}", "module_type": "problem"}
    )
    assert was_created
    StudentModule.objects.update_or_create(**identity, defaults={"state": '{"answer": "red"}', "grade": 1})
    assert StudentModule.objects.filter(pk=row.pk).update(max_grade=2) == 1
    found = StudentModule.objects.get(pk=row.pk)
    assert isinstance(found, StudentModule)
    assert (json.loads(found.state or ""), found.grade, found.max_grade) == ({"answer": "red"}, 1, 2)
    assert StudentModule.objects.filter(pk__in=[row.pk], student__username="ada").count() == 1
    override = Override.objects.create(module=found)
    assert Override.objects.select_related("module").get(module__student=ada).module == found
    if name in ("shadow", "lead"):
        assert our_state(ada) == platforms_state(ada) == {"answer": "red"}
        assert Client().get_scores("ada", [KEY])[KEY][:2] == (1, 2)
    found.delete()
    assert not StudentModule.objects.exists()
    assert not Override.objects.filter(pk=override.pk).exists()
    if name in ("shadow", "lead"):
        assert our_state(ada) is None
        assert platforms_state(ada) is None
    assert differences() == []


@pytest.mark.parametrize("name", ["off", "shadow", "lead", "alone"])
def test_rows_are_made_in_bulk_and_deleted_by_a_query(stage: Stage, ada: User, name: str) -> None:
    stage(name)
    keys = [COURSE.make_usage_key("problem", f"bulk{number}") for number in range(3)]
    StudentModule.objects.bulk_create(
        StudentModule(student=ada, module_state_key=key, course_id=COURSE, module_type="problem", state='{"a": 1}')
        for key in keys
    )
    assert StudentModule.objects.count() == 3
    if name in ("shadow", "lead"):
        with on_the_platforms_tables():
            assert StudentModule.objects.count() == 3
        assert OurModule.objects.count() == 3
    StudentModule.objects.filter(student=ada).delete()
    assert (StudentModule.objects.count(), OurModule.objects.count()) == (0, 0)


def test_deleting_a_user_deletes_the_rows_of_both_stores(stage: Stage, ada: User) -> None:
    for name in ("shadow", "lead", "alone"):
        stage(name)
        for scope in SCOPES:
            save(ada, BLOCK, scope, answer=name)
    ada.delete()
    assert not OurModule.objects.exists()
    assert not UserInfo._base_manager.exists()


def test_deleting_a_user_at_lead_deletes_the_platforms_fields_too(stage: Stage, ada: User) -> None:
    stage("lead")
    for scope in SCOPES:
        save(ada, BLOCK, scope, answer="red")
    ada.delete()
    with on_the_platforms_tables():
        left = [scope for scope in SCOPES if TABLES.get(scope, StudentModule).objects.exists()]
    assert left == [Scope.user_state_summary]


@pytest.mark.parametrize("name", ["shadow", "lead", "alone"])
def test_history_of_the_models_has_scores(stage: Stage, ada: User, name: str) -> None:
    stage(name)
    handlers.set_score(ada.pk, KEY, 1, 2)
    save(ada, BLOCK, answer="red")
    [module] = StudentModule.objects.all()
    newest, oldest = BaseStudentModuleHistory.get_history([module])
    assert json.loads(newest.state or "") == {"answer": "red"}
    assert (newest.grade, oldest.grade, oldest.state) == (1, 1, None)
    assert newest.student_module == module


def test_the_platform_writes_no_history_of_rows_that_this_store_serves_alone(stage: Stage, ada: User) -> None:
    stage("alone")
    StudentModule.objects.create(student=ada, module_state_key=KEY, course_id=COURSE, state='{"a": 1}')
    assert not StudentModuleHistory.objects.exists()
    stage("lead")
    save(ada, BLOCK, answer="red")
    with on_the_platforms_tables():
        assert StudentModuleHistory.objects.count() == 1


def test_every_stage_goes_back_to_the_one_before(stage: Stage, ada: User) -> None:
    for number, name in enumerate(["off", "shadow", "lead", "alone", "lead", "shadow", "off"]):
        stage(name)
        # At lead both stores have it, so that either may serve next.
        if name != "alone":
            save(ada, BLOCK, answer=str(number))
            assert read(ada, BLOCK, "answer") == str(number)


def test_a_difference_is_counted_by_field_and_mended(stage: Stage, ada: User) -> None:
    stage("shadow")
    save(ada, BLOCK, answer="red", other="x")
    Client().set("ada", KEY, {"other": "y", "more": 1})
    save(ada, BLOCK, answer="blue")
    assert differences() == [("more", 1), ("other", 1)]
    assert our_state(ada) == platforms_state(ada) == {"answer": "blue", "other": "x"}
    # The first write, the one past the platform, and the mended one.
    assert len(our_history(ada)) == 3
    Client().set_score("ada", KEY, 1, 2)
    save(ada, BLOCK, answer="green")
    assert ("(score)", 1) in differences()
    assert not Client().get_scores("ada", [KEY])


def test_a_state_that_is_no_json_is_counted_and_stops_nothing(stage: Stage, ada: User) -> None:
    stage("shadow")
    StudentModule.objects.create(student=ada, module_state_key=KEY, course_id=COURSE, state="{broken")
    assert differences() == [("(state)", 1)]


@pytest.mark.parametrize(("name", "copy"), [("shadow", "copy_here"), ("lead", "copy_there")])
def test_a_failing_second_store_never_hurts_the_first(
    stage: Stage, ada: User, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str, copy: str
) -> None:
    stage(name)

    def fail(*_: Any) -> None:
        raise DatabaseError("the second store is down")

    monkeypatch.setattr(copying, copy, fail)
    save(ada, BLOCK, answer="red")
    assert read(ada, BLOCK, "answer") == "red"
    assert "was not copied" in caplog.text


def test_a_write_that_is_rolled_back_is_not_copied(stage: Stage, ada: User) -> None:
    for name in ("shadow", "lead"):
        stage(name)
        with transaction.atomic():
            save(ada, BLOCK, answer="red")
            transaction.set_rollback(True)
        assert (our_state(ada), platforms_state(ada)) == (None, None)


def test_a_request_makes_one_change_in_the_other_store(stage: Stage, ada: User) -> None:
    stage("shadow")
    with flushed_at_the_end():
        for number in range(3):
            save(ada, BLOCK, answer=str(number))
    assert [entry.state for entry in our_history(ada)] == [{"answer": "2"}]


def test_a_switch_leaves_courses_with_the_platform(stage: Stage, ada: User) -> None:
    moons = make_block("one", OTHER_COURSE)
    stage("lead", OPENEDX_COURSES=SWITCH)
    for block in (BLOCK, moons):
        save(ada, block, answer="red")
        handlers.set_score(ada.pk, usage_key(block), 1, 2)
        assert read(ada, block, "answer") == "red"
        assert handlers.get_score(ada.pk, usage_key(block)).grade == 1
    assert our_state(ada) == {"answer": "red"}
    assert our_state(ada, moons) is None
    assert platforms_state(ada) == platforms_state(ada, moons) == {"answer": "red"}
    # A query may span courses, so the platform's table answers.
    assert StudentModule.objects.count() == 2
    StudentModule.objects.filter(module_state_key=KEY).update(state='{"answer": "blue"}')
    assert our_state(ada) == {"answer": "blue"}


def field_of(model: Any, user: User, name: str = "answer", **others: Any) -> dict[str, Any]:
    """Return the values that name a field of a model."""
    owner: dict[Any, dict[str, Any]] = {
        XModuleStudentPrefsField: {"student": user, "module_type": "problem"},
        XModuleStudentInfoField: {"student": user},
        XModuleUserStateSummaryField: {"usage_id": KEY},
    }
    return {**owner[model], "field_name": name, **others}


def fields_in(model: Any) -> dict[str, Any]:
    """Return the fields that a model shows, with their values."""
    return {row.field_name: json.loads(row.value) for row in model.objects.all()}


@pytest.mark.parametrize("name", ["off", "shadow", "lead", "alone"])
@pytest.mark.parametrize("scope", TABLES)
def test_the_models_of_fields_work_at_every_stage(stage: Stage, ada: User, scope: Scope, name: str) -> None:
    stage(name)
    model = TABLES[scope]
    row = model.objects.create(**field_of(model, ada, value='"red"'))
    assert (row.created is not None, row.modified is not None) == (True, True)
    assert read(ada, BLOCK, "answer", scope) == "red"
    _, was_created = model.objects.get_or_create(**field_of(model, ada), defaults={"value": "1"})
    assert not was_created
    row.value = '{"of": ["blue"]}'
    row.save(force_update=True)
    model.objects.update_or_create(**field_of(model, ada, "other"), defaults={"value": "2"})
    model.objects.update_or_create(**field_of(model, ada, "other"), defaults={"value": "3"})
    assert fields_in(model) == {"answer": {"of": ["blue"]}, "other": 3}
    assert model.objects.filter(field_name__in=["other", "none"]).update(value="null") == 1
    if name != "off":
        assert our_state(ada, scope=scope) == {"answer": {"of": ["blue"]}, "other": None}
    if name != "alone":
        with on_the_platforms_tables():
            assert fields_in(model) == {"answer": {"of": ["blue"]}, "other": None}
    assert differences() == []


@pytest.mark.parametrize("name", ["off", "shadow", "lead", "alone"])
@pytest.mark.parametrize("scope", TABLES)
def test_fields_are_made_in_bulk_and_deleted_at_every_stage(stage: Stage, ada: User, scope: Scope, name: str) -> None:
    stage(name)
    model = TABLES[scope]
    model.objects.bulk_create(model(**field_of(model, ada, each, value="1")) for each in ("x", "y", "z"))
    found = model.objects.get(field_name="z")
    assert found.modified >= found.created
    found.value = "lost"
    found.refresh_from_db()
    assert found.value == "1"
    assert found.delete()[0] == 1
    found.save()
    assert model.objects.exclude(field_name="x").delete()[0] == 2
    assert fields_in(model) == {"x": 1}
    if name != "off":
        assert our_state(ada, scope=scope) == {"x": 1}
    if name != "alone":
        with on_the_platforms_tables():
            assert fields_in(model) == {"x": 1}
    assert differences() == []


@pytest.mark.parametrize("scope", TABLES)
def test_a_field_is_created_once_and_updated_only_where_it_is(stage: Stage, ada: User, scope: Scope) -> None:
    stage("alone")
    model = TABLES[scope]
    model.objects.create(**field_of(model, ada, value="1"))
    for again in (model(**field_of(model, ada, value="2")), model(**field_of(model, ada, "new", value="2"))):
        with pytest.raises(IntegrityError if again.field_name == "answer" else DatabaseError):
            again.save(force_insert=again.field_name == "answer", force_update=again.field_name != "answer")
    for names in (["new", "answer"], ["new", "new"]):
        with pytest.raises(IntegrityError):
            model.objects.bulk_create(model(**field_of(model, ada, each, value="2")) for each in names)
    with pytest.raises(ValueError, match="value of broken must be a JSON text"):
        model.objects.create(**field_of(model, ada, "broken", value="{broken"))
    moved = model.objects.get()
    moved.field_name = "moved"
    with pytest.raises(ValueError, match="another key"):
        moved.save()
    with pytest.raises(NotSupportedError, match="only value"):
        model.objects.update(field_name="moved")
    with pytest.raises(TypeError, match="after values"):
        model.objects.values("value").update(value="2")
    assert fields_in(model) == {"answer": 1}


@pytest.mark.parametrize("name", ["off", "shadow", "lead", "alone"])
@pytest.mark.parametrize("scope", TABLES)
def test_no_field_is_found_by_the_number_that_it_lacks(stage: Stage, ada: User, scope: Scope, name: str) -> None:
    """A caller may filter by the id of an instance: that must not reach the rows of all learners."""
    stage(name)
    rows = TABLES[scope].objects
    rows.create(**field_of(TABLES[scope], ada, value="1"))
    assert rows.filter(pk=None).update(value="2") == 0
    assert rows.filter(id=None).delete()[0] == 0
    assert (rows.filter(id__isnull=True).count(), rows.exclude(pk=None).count()) == (0, 1)
    assert fields_in(TABLES[scope]) == {"answer": 1}


@pytest.mark.parametrize("name", ["off", "shadow", "lead", "alone"])
@pytest.mark.parametrize("scope", TABLES)
def test_a_save_of_other_columns_leaves_the_value(stage: Stage, ada: User, scope: Scope, name: str) -> None:
    stage(name)
    model = TABLES[scope]
    model.objects.create(**field_of(model, ada, value="1"))
    loaded, deferred = model.objects.get(), model.objects.defer("value").get()
    loaded.value = "2"
    loaded.save(update_fields=["modified"])
    deferred.save()
    assert fields_in(model) == {"answer": 1}
    loaded.save(update_fields=["value"])
    assert fields_in(model) == {"answer": 2}


@pytest.mark.parametrize("scope", TABLES)
def test_fields_that_were_loaded_in_part(stage: Stage, ada: User, scope: Scope) -> None:
    stage("alone")
    model = TABLES[scope]
    for each in ("x", "y"):
        model.objects.create(**field_of(model, ada, each, value="1"))
    assert [row.value for row in model.objects.defer("value")] == ["1", "1"]
    with pytest.raises(NotSupportedError, match="can't be found without"):
        _ = model.objects.only("field_name").first().value
    assert model.objects.only("field_name").filter(field_name="x").update(value="2") == 1
    assert model.objects.only("field_name").filter(field_name="y").delete()[0] == 1
    assert fields_in(model) == {"x": 2}


@pytest.mark.parametrize("scope", TABLES)
def test_a_field_that_was_loaded_before_a_change_of_stage(stage: Stage, ada: User, scope: Scope) -> None:
    stage("shadow")
    model = TABLES[scope]
    model.objects.create(**field_of(model, ada, value="1"))
    loaded = model.objects.get()
    stage("lead")
    loaded.value = "2"
    loaded.save()
    loaded.value = "lost"
    loaded.refresh_from_db()
    assert loaded.value == "2"
    assert fields_in(model) == {"answer": 2}


def test_fields_of_one_row_are_one_change(stage: Stage, ada: User) -> None:
    stage("alone")
    model = XModuleStudentInfoField
    model.objects.bulk_create(model(**field_of(model, ada, each, value="1")) for each in ("x", "y", "z"))
    model.objects.update(value="2")
    model.objects.filter(field_name__in=["x", "y"]).delete()
    row = UserInfo._base_manager.get()
    assert (row.revision, json.loads(row.state or "")) == (3, {"z": 2})


def test_a_field_keeps_the_others_of_its_row(stage: Stage, ada: User) -> None:
    """An instance that was loaded before another request wrote the row changes its own field only."""
    stage("alone")
    save(ada, BLOCK, Scope.user_info, answer="red", other="x")
    loaded = XModuleStudentInfoField.objects.get(field_name="answer")
    save(ada, BLOCK, Scope.user_info, other="y", more=1)
    loaded.value = '"blue"'
    loaded.save()
    assert our_state(ada, scope=Scope.user_info) == {"answer": "blue", "other": "y", "more": 1}


def test_a_state_that_the_database_can_not_split_is_shown_whole_and_left_alone(stage: Stage, ada: User) -> None:
    stage("alone")
    save(ada, BLOCK, Scope.user_info, answer=float("nan"))
    [whole] = XModuleStudentInfoField.objects.all()
    assert (whole.field_name, whole.value) == (None, '{"answer":NaN}')
    for change in (whole.save, whole.delete, XModuleStudentInfoField.objects.all().delete):
        with pytest.raises(ValueError, match="can't split"):
            change()


def test_an_old_style_key_names_its_block_if_there_is_one(stage: Stage, ada: User) -> None:
    stage("alone")
    model = XModuleUserStateSummaryField
    keys = [CourseKey.from_string(f"Sky/Stars/{run}").make_usage_key("problem", "old") for run in ("2025", "2026")]
    model.objects.create(usage_id=keys[0], field_name="tally", value="1")
    # The column of the platform has no run.
    loaded = model.objects.get(usage_id=keys[0])
    assert loaded.usage_id.run is None
    loaded.value = "2"
    loaded.save()
    assert Client().get(None, keys[0], Scope.user_state_summary).state == {"tally": 2}
    model.objects.create(usage_id=keys[1], field_name="tally", value="5")
    with pytest.raises(ValueError, match="several courses: Sky/Stars/2025, Sky/Stars/2026"):
        loaded.save()
    assert {row.value for row in model.objects.filter(usage_id=keys[0])} == {"2", "5"}


def test_migrations_see_no_change_of_the_models() -> None:
    for field in (field for model in (StudentModule, *TABLES.values()) for field in model._meta.concrete_fields):
        _, path, _, arguments = field.deconstruct()
        assert import_string(path) in type(field).__mro__[1:]
        assert arguments.get("on_delete", CASCADE) is CASCADE


def test_an_unknown_platform_is_refused_and_nothing_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    def set_score(user_id: Any, usage_key: Any) -> Any:
        """Stand for another version."""

    monkeypatch.setattr(model_data, "set_score", set_score)
    monkeypatch.delattr(model_data, "get_score")
    with pytest.raises(replacements.UnknownPlatform, match="get_score is not there") as refused:
        replacements.install()
    assert "set_score has the parameters user_id, usage_key, not" in str(refused.value)
    assert vars(model_data)["set_score"] is set_score


def test_models_with_other_fields_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replacements, "MODEL_FIELDS", {"XModuleStudentInfoField": {"id"}, "Gone": set()})
    assert [*replacements.problems()] == [
        "the fields of courseware.XModuleStudentInfoField differ: created, field_name, modified, student, value",
        "there is no model courseware.Gone",
    ]
