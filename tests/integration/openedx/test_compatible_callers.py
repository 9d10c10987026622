"""Calls as the platform and blocks make them, in the patterns that were read in their code."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth import get_user_model
from django.core.exceptions import ObjectDoesNotExist
from django.db import IntegrityError, NotSupportedError, connection, connections, models, transaction
from opaque_keys.edx.keys import CourseKey, UsageKey

from tests.factories import CCX, COURSE, make_block, make_blocks, make_learners
from xblock_user_state.client import DjangoXBlockUserStateClient as Client
from xblock_user_state.models import Block, StudentModule, StudentModuleHistory
from xblock_user_state.openedx.models import BlockNumber, CompatibleStudentModule, ImportedModule
from xblock_user_state.state.keys import identify_block
from xblock_user_state.store.reader import read_rows

pytestmark = pytest.mark.django_db(transaction=True)

BLOCK = make_block()
ESSAY = make_block("essay", "edx_sga")
KEYS: dict[str, Any] = {"course_id": COURSE, "module_state_key": BLOCK}
Rows = CompatibleStudentModule.objects


@pytest.fixture
def learners() -> list[Any]:
    return make_learners("ada", "ben", "cem")


@pytest.fixture
def override_model() -> Iterator[Any]:
    """A model with a foreign key to the compatible one, as a package for staff grading has it."""
    label = "xblock_user_state_openedx"
    known = set(vars(CompatibleStudentModule))

    class ScoreOverride(models.Model):
        module = models.ForeignKey(CompatibleStudentModule, on_delete=models.CASCADE, db_constraint=False)
        by = models.CharField(max_length=20)

        class Meta:
            app_label = label

    with connection.schema_editor() as editor:
        editor.create_model(ScoreOverride)
    yield ScoreOverride
    with connection.schema_editor() as editor:
        editor.delete_model(ScoreOverride)
    del apps.all_models[label]["scoreoverride"]
    apps.clear_cache()
    for name in set(vars(CompatibleStudentModule)) - known:
        if "scoreoverride" in name:
            delattr(CompatibleStudentModule, name)


def test_a_submitter_of_an_assignment_has_a_row_that_is_read_by_its_number(learners: list[Any]) -> None:
    # edx-sga: a row with "{}" for each submitter, whose id stands in the addresses of the staff's pages.
    defaults = {"state": "{}", "module_type": ESSAY.block_type}
    row, is_new = Rows.get_or_create(course_id=COURSE, module_state_key=ESSAY, student=learners[0], defaults=defaults)
    assert is_new
    number = int(json.loads(json.dumps({"module_id": row.id}))["module_id"])
    module = Rows.get(pk=str(number))
    state = json.loads(module.state)
    assert state == {}
    state["annotated_filename"] = "essay.pdf"
    module.state = json.dumps(state)
    module.save()
    again = Rows.get(pk=number)
    assert json.loads(again.state) == {"annotated_filename": "essay.pdf"}
    assert (again.module_state_key, again.course_id, again.student.username) == (ESSAY, COURSE, "ada")
    found = Rows.filter(course_id=COURSE).filter(module_state_key__contains="edx_sga")
    assert [each.module_state_key.block_type for each in found] == ["edx_sga"]
    assert Client().get("ada", ESSAY).state == {"annotated_filename": "essay.pdf"}


def test_a_score_remembers_who_gave_it(learners: list[Any], override_model: Any) -> None:
    # bulk_grades: update_or_create of scores, and a foreign key from who gave them.
    for points in (3, 4):
        module = Rows.update_or_create(
            student_id=learners[0].pk,
            course_id=BLOCK.course_key,
            module_state_key=BLOCK,
            defaults={"module_type": "problem", "grade": points, "max_grade": 5},
        )[0]
        override_model.objects.create(module=module, by=f"staff{points}")
    rows = Rows.filter(course_id=COURSE, module_state_key=BLOCK).filter(student_id__in=[user.pk for user in learners])
    [row] = rows
    assert (row.grade, row.max_grade, row.created < row.modified) == (4, 5, True)
    assert row.scoreoverride_set.latest("id").by == "staff4"
    assert override_model.objects.first().module == row
    assert override_model.objects.filter(module__course_id=COURSE).count() == 2
    assert override_model.objects.filter(module__id=row.pk).count() == 2
    assert override_model.objects.filter(module__pk__in=[row.pk, 7], module__grade=4).count() == 2
    assert override_model.objects.filter(module_id=row.pk, module=row).count() == 2
    assert Rows.filter(scoreoverride__by="staff4").get() == row
    assert [each.module.grade for each in override_model.objects.select_related("module")] == [4, 4]
    assert Rows.prefetch_related("scoreoverride_set").get(pk=row.pk).scoreoverride_set.count() == 2
    assert row.delete()[1] == {
        "xblock_user_state_openedx.ScoreOverride": 2,
        "xblock_user_state_openedx.CompatibleStudentModule": 1,
    }
    assert not override_model.objects.exists()


def test_a_foreign_key_to_an_imported_row_stays_valid(learners: list[Any], override_model: Any) -> None:
    override_model.objects.create(module_id=4711, by="staff")
    Client().set_score("ada", BLOCK, 1, 2)
    ImportedModule._base_manager.create(
        id=4711, student_id=learners[0].pk, block_id=identify_block(BLOCK).id, revision=1
    )
    [row] = Rows.filter(course_id=COURSE, module_state_key=BLOCK)
    assert row.pk == 4711
    assert row.scoreoverride_set.get().module == row
    with pytest.raises(ObjectDoesNotExist):
        override_model(module_id=4712).module  # noqa: B018


def test_a_report_reads_the_states_of_a_block_newest_first(learners: list[Any]) -> None:
    # xblock-poll's export and the report on problem responses.
    for user in (learners[1], learners[0], learners[2]):
        Client().set(user.username, BLOCK, {"choice": user.username})
    rows = Rows.select_related("student").filter(course_id=COURSE, module_state_key=BLOCK).order_by("-modified")
    assert [(row.student.username, json.loads(row.state)["choice"]) for row in rows] == [
        ("cem", "cem"),
        ("ada", "ada"),
        ("ben", "ben"),
    ]
    assert Rows.filter(course_id=COURSE, module_state_key=BLOCK, student__id=learners[1].pk).get() == rows[2]
    newest = Rows.filter(student=learners[0], course_id=COURSE).order_by("-modified", "module_state_key").first()
    assert newest == rows[1]


def test_attempts_are_reset_and_rows_deleted_by_staff(learners: list[Any]) -> None:
    # Instructor tasks: all rows of some blocks, each changed, or deleted.
    for user in learners:
        Client().set(user.username, BLOCK, {"attempts": 3, "answer": user.username})
    modules = CompatibleStudentModule.get_state_by_params(COURSE, [BLOCK])
    assert modules.count() == len(modules) == 3
    for module in modules:
        state = json.loads(module.state)
        module.state = json.dumps({**state, "attempts": 0, "score_history": []})
        module.save()
    assert Client().get("ben", BLOCK).state == {"attempts": 0, "answer": "ben", "score_history": []}
    CompatibleStudentModule.get_state_by_params(COURSE, [BLOCK], learners[0].pk).get().delete()
    with pytest.raises(CompatibleStudentModule.DoesNotExist):
        Rows.get(student_id=learners[0].pk, course_id=COURSE, module_state_key=BLOCK)
    assert not StudentModuleHistory.objects.filter(student=learners[0]).exists()
    # An override makes a row without a type or a state.
    made = Rows.get_or_create(course_id=COURSE, student=learners[0], module_state_key=BLOCK)[0]
    assert (made.state, made.grade, made.module_type) == (None, None, "problem")


def test_a_state_is_saved_whole(learners: list[Any]) -> None:
    from django.contrib.auth.models import AnonymousUser  # noqa: PLC0415

    for selected in ([1], [2]):
        state = json.dumps({"selected": selected})
        CompatibleStudentModule.save_state(
            learners[0], COURSE, BLOCK, {"state": state, "module_type": "library_content"}
        )
    CompatibleStudentModule.save_state(AnonymousUser(), COURSE, BLOCK, {"state": "{}"})
    assert Client().get("ada", BLOCK).state == {"selected": [2]}
    assert Rows.count() == 1


def test_scores_are_read_with_the_time_of_the_row(learners: list[Any]) -> None:
    blocks = make_blocks(3)
    for block in blocks[:2]:
        Client().set_score("ada", block, 1, 2)
    found = Rows.filter(student_id=learners[0].pk, course_id=COURSE, module_state_key__in=set(blocks)).values_list(
        "module_state_key", "grade", "max_grade", "created"
    )
    created = dict(StudentModule.objects.values_list("block_id", "created"))
    assert {key: values for key, *values in found} == {
        block: [1, 2, created[identify_block(block).id]] for block in blocks[:2]
    }
    assert CompatibleStudentModule.all_submitted_problems_read_only(COURSE).count() == 2
    assert len(list(Rows.chunked_filter("module_state_key__in", blocks, chunk_size=2, student=learners[0]))) == 2


@pytest.mark.parametrize(
    ("course", "key"),
    [
        (CourseKey.from_string("edX/Demo/2012"), UsageKey.from_string("i4x://edX/Demo/problem/old")),
        (CCX, CCX.make_usage_key("problem", "stars")),
        (COURSE, COURSE.for_branch("draft-branch").make_usage_key("problem", "stars")),
    ],
)
def test_keys_of_all_kinds_name_the_same_row(learners: list[Any], course: Any, key: Any) -> None:
    row = Rows.create(student=learners[0], course_id=course, module_state_key=key, state='{"a":1}')
    found = Rows.get(student=learners[0], course_id=course, module_state_key=key)
    assert found == row
    found.state = '{"a":2}'
    found.save()
    assert Rows.get(pk=row.pk).state == '{"a":2}'
    assert StudentModule.objects.count() == 1


def test_a_key_of_another_course_is_refused(learners: list[Any]) -> None:
    with pytest.raises(ValueError, match="is a block of"):
        Rows.create(student=learners[0], course_id=COURSE.replace(run="2027"), module_state_key=BLOCK)
    with pytest.raises(TypeError, match="course_id must be"):
        CompatibleStudentModule(student=learners[0], module_state_key=BLOCK).save()
    with pytest.raises(ValueError, match="not JSON"):
        Rows.create(student=learners[0], course_id=COURSE, module_state_key=BLOCK, state="no state")
    assert not StudentModule.objects.exists()


def test_deleting_a_user_deletes_the_rows(learners: list[Any]) -> None:
    Client().set_many("ada", {block: {"a": 1} for block in make_blocks(3)})
    learners[0].delete()
    assert not Rows.exists()
    get_user_model().objects.all().delete()


def test_a_locked_row_is_shown_as_it_is(learners: list[Any]) -> None:
    Client().set("ada", BLOCK, {"a": 1})
    rows = Rows.filter(student=learners[0], course_id=COURSE, module_state_key=BLOCK)
    with transaction.atomic():
        row = rows.select_for_update().get()
        row.state = '{"a":2}'
        row.save()
    assert rows.get().state == '{"a":2}'
    with pytest.raises(NotSupportedError), transaction.atomic():
        rows.select_for_update(nowait=True).get()
    if connection.features.has_select_for_update:
        with pytest.raises(transaction.TransactionManagementError):
            rows.select_for_update().get()


def _in_threads(number: int, act: Any) -> list[Any]:
    def run(index: int) -> Any:
        try:
            return act(index)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(run, range(number)))


# Many rows, because MariaDB does not meet a deadlock at each.
@pytest.mark.parametrize("verb", ["get_or_create", "update_or_create"])
def test_one_of_many_creates_a_row_and_the_others_get_it(learners: list[Any], verb: str) -> None:
    def create(block: UsageKey, _: int) -> tuple[Any, bool]:
        row, is_new = getattr(Rows, verb)(
            student=learners[0], course_id=COURSE, module_state_key=block, defaults={"state": "{}", "done": "i"}
        )
        return row.pk, is_new

    for block in make_blocks(20):
        made = _in_threads(6, partial(create, block))
        assert len({number for number, _ in made}) == 1
        assert sum(is_new for _, is_new in made) == 1


def test_a_row_that_is_deleted_before_the_lock_is_created_again(learners: list[Any], monkeypatch: Any) -> None:
    if not connection.features.has_select_for_update:
        pytest.skip("transactions that write go one after the other")
    row = Rows.create(student=learners[0], **KEYS, state='{"a":1}')
    seam = "xblock_user_state.openedx.compatible.querysets.read_rows"

    def delete_first(*arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(seam, read_rows)
        _in_threads(1, lambda _: Rows.get(pk=row.pk).delete())
        return read_rows(*arguments, **options)

    monkeypatch.setattr(seam, delete_first)
    made, is_new = Rows.update_or_create(student=learners[0], **KEYS, defaults={"state": '{"b":2}'})
    assert (is_new, made.state, Client().get("ada", BLOCK).state) == (True, '{"b":2}', {"b": 2})


def test_updates_at_the_same_time_lose_nothing(learners: list[Any]) -> None:
    Client().set("ada", BLOCK, {"count": 0})

    def count(_: int) -> None:
        for _ in range(3):
            with transaction.atomic():
                row = Rows.select_for_update().get(student=learners[0], course_id=COURSE, module_state_key=BLOCK)
                row.state = json.dumps({"count": json.loads(row.state)["count"] + 1})
                row.save()

    _in_threads(4, count)
    assert Client().get("ada", BLOCK).state == {"count": 12}


def test_each_new_block_gets_one_number_whoever_registers_it() -> None:
    names = [user.username for user in make_learners(*(f"learner{number}" for number in range(6)))]
    blocks = make_blocks(12)

    def write(index: int) -> None:
        Client().set_many(names[index], {block: {"a": 1} for block in blocks[index : index + 7]})

    _in_threads(6, write)
    assert Block.objects.count() == BlockNumber.objects.count() == 12
    assert Rows.filter(pk__isnull=True).count() == 0
    with pytest.raises(IntegrityError), transaction.atomic():
        BlockNumber.objects.create(block_id=identify_block(blocks[0]).id)
