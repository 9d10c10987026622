"""Queries and saves of the compatible model, in every form that Django has."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.admin.options import ModelAdmin
from django.contrib.admin.sites import AdminSite
from django.db import DatabaseError, connection, transaction
from django.db.models import Avg, Case, Count, F, Max, Q, Sum, Value, When
from django.test import RequestFactory

from tests.factories import COURSE, make_block, make_blocks, make_learners
from xblock_user_state.client import DjangoXBlockUserStateClient as Client
from xblock_user_state.interface import UserId
from xblock_user_state.models import StudentModule
from xblock_user_state.openedx.models import BlockNumber, CompatibleStudentModule, ImportedModule
from xblock_user_state.openedx.numbers.arithmetic import MAX_BLOCK, MAX_STUDENT
from xblock_user_state.state.keys import identify_block

pytestmark = pytest.mark.django_db(transaction=True)

BLOCK = make_block()
KEYS: dict[str, Any] = {"course_id": COURSE, "module_state_key": BLOCK}
Rows = CompatibleStudentModule.objects


@pytest.fixture
def learners() -> list[Any]:
    """Three learners with a state and a score in each of three blocks."""
    users = make_learners("ada", "ben", "cem")
    for points, user in enumerate(users):
        Client().set_many(user.username, {block: {"answer": points} for block in make_blocks(3)})
        for block in make_blocks(3):
            Client().set_score(user.username, block, points, 4)
    return users


def test_numbers_that_no_row_has_exclude_nothing(learners: list[Any]) -> None:
    row = Rows.first()
    unused_block = 2**52 + learners[0].pk * 2**24 + 5_000_000
    for number in (7, -1, 0, 2**53, 2**63, unused_block):
        assert Rows.exclude(pk=number).count() == 9, number
        assert Rows.filter(~Q(pk=number)).count() == 9, number
        assert not Rows.filter(pk=number).exists()
    assert Rows.exclude(pk__in=[7, 8, unused_block]).count() == 9
    assert Rows.exclude(pk__in=[7, row.pk]).count() == 8
    assert Rows.exclude(pk__in=[]).count() == 9
    assert Rows.filter(Q(pk=row.pk) | Q(pk=7)).get() == row
    assert Rows.filter(Q(pk=row.pk) & ~Q(pk=7)).get() == row
    assert Rows.annotate(own=Case(When(pk=row.pk, then=Value(1)), default=Value(0))).filter(own=1).get() == row
    assert Rows.annotate(own=Case(When(~Q(pk=7), then=Value(1)), default=Value(0))).filter(own=1).count() == 9


def test_queries_answer_as_those_of_a_table(learners: list[Any]) -> None:
    block = make_blocks(3)[0]
    names = (
        Rows.filter(module_state_key=block).order_by("student__username").values_list("student__username", flat=True)
    )
    assert list(names) == ["ada", "ben", "cem"]
    assert [row.student.username for row in Rows.select_related("student").order_by("-modified")[:1]] == ["cem"]
    assert Rows.filter(Q(grade__gt=0) & ~Q(student=learners[1])).count() == 3
    assert Rows.exclude(student__username="ada").exclude(grade=2).count() == 3
    students = Count("student", distinct=True)
    assert Rows.aggregate(Sum("grade"), Avg("max_grade"), Max("modified"), Count("id"), students=students) == {
        "grade__sum": 9.0,
        "max_grade__avg": 4.0,
        "modified__max": StudentModule.objects.latest("modified").modified,
        "id__count": 9,
        "students": 3,
    }
    by_type = Rows.values("module_type").annotate(number=Count("pk")).order_by()
    assert list(by_type) == [{"module_type": "problem", "number": 9}]
    assert len(list(Rows.iterator(chunk_size=2))) == 9
    assert len({row.pk for row in Rows.order_by("pk").iterator()}) == 9
    assert Rows.filter(grade__lt=F("max_grade")).count() == 9
    assert Rows.filter(state__contains="answer").count() == 9
    assert Rows.filter(student__in=learners[:2]).distinct().count() == 6
    assert Rows.filter(student=learners[0]).union(Rows.filter(student=learners[1])).count() == 6
    assert Rows.latest("modified").student == learners[2]
    assert Rows.datetimes("created", "day").count() == 1
    assert learners[0].compatiblestudentmodule_set.count() == 3


def test_numbers_are_compared_as_those_of_a_table(learners: list[Any]) -> None:
    numbers = list(Rows.order_by("pk").values_list("pk", flat=True))
    assert numbers == sorted(numbers)
    assert Rows.filter(pk__gte=numbers[3], pk__lt=numbers[6]).count() == 3
    assert Rows.filter(pk__in=Rows.filter(student=learners[0])).count() == 3
    assert Rows.filter(pk__in=Rows.filter(student=learners[0]).values("pk")).count() == 3
    assert Rows.filter(pk__in=[str(number) for number in numbers]).count() == 9
    assert Rows.in_bulk(numbers[:2]).keys() == set(numbers[:2])


def test_thousands_of_numbers_fit(learners: list[Any]) -> None:
    numbers = list(Rows.values_list("pk", flat=True))
    others = [2**52 + 900 * 2**24 + number for number in range(3000)]
    assert Rows.filter(pk__in=[*others, *numbers]).count() == 9
    assert Rows.exclude(pk__in=[*others, *numbers]).count() == 0


def test_an_expression_is_refused_and_nothing_is_written(learners: list[Any]) -> None:
    with pytest.raises(TypeError, match="not an expression"):
        Rows.update(grade=F("grade") + 1)
    row = Rows.first()
    row.grade = F("grade") + 1
    with pytest.raises(TypeError, match="not an expression"):
        row.save()
    with pytest.raises(TypeError):
        Rows.update(state={"a": 1})
    with pytest.raises(ValueError, match="JSON"):
        Rows.update(state="no json")
    assert set(StudentModule.objects.values_list("revision", flat=True)) == {2}


def test_a_state_is_updated_in_many_rows(learners: list[Any]) -> None:
    assert Rows.filter(student__in=learners[:2]).update(state='{"answer":9}') == 6
    assert Rows.filter(student=learners[0]).update(state=None) == 3
    assert Rows.filter(student__username="cem", module_state_key=make_blocks(1)[0]).update(done="f") == 1
    assert sorted(Rows.values_list("state", "done")) == sorted(
        [("{}", "na")] * 3 + [('{"answer":9}', "na")] * 3 + [('{"answer":2}', "na")] * 2 + [('{"answer":2}', "f")]
    )


@pytest.mark.parametrize("fields", [("state",), ("state", "grade"), ("id",), ("modified",)])
def test_an_instance_with_some_columns_is_saved(learners: list[Any], fields: tuple[str, ...]) -> None:
    number = Rows.first().pk
    row = Rows.only(*fields).get(pk=number)
    row.state = '{"answer":7}'
    row.save()
    assert Rows.get(pk=number).state == '{"answer":7}'
    row = Rows.only(*fields).get(pk=number)
    row.grade, row.max_grade = 3, 4
    row.save()
    assert (Rows.get(pk=number).grade, Rows.get(pk=number).state) == (3, '{"answer":7}')
    assert Rows.only(*fields).get(pk=number).delete()[0] == 1


@pytest.mark.parametrize("deferred", ["module_state_key", "course_id", "student", "state", "grade", "created"])
def test_an_instance_without_a_column_is_saved(learners: list[Any], deferred: str) -> None:
    number = Rows.first().pk
    row = Rows.defer(deferred).get(pk=number)
    row.state = '{"answer":7}'
    row.save()
    row.grade = 3
    row.save(update_fields=["grade"])
    again = Rows.get(pk=number)
    assert (again.state, again.grade) == ('{"answer":7}', 3)


def test_the_named_fields_are_saved(learners: list[Any]) -> None:
    row = Rows.first()
    row.state, row.grade, row.done = '{"answer":7}', 3, "f"
    row.save(update_fields=["grade", "modified", "module_type"])
    again = Rows.get(pk=row.pk)
    assert (json.loads(again.state), again.grade, again.done) == ({"answer": 0}, 3, "na")
    row.save(update_fields=[])
    row.save(update_fields=["done"])
    assert Rows.get(pk=row.pk).done == "f"
    row.save(force_update=True)
    assert Rows.get(pk=row.pk).state == '{"answer":7}'
    with pytest.raises(ValueError, match="nothing"):
        row.save(update_fields=["nothing"])


def test_copies_of_an_instance_are_independent(learners: list[Any]) -> None:
    row = Rows.first()
    row.grade = 1
    row.save()
    for other in (pickle.loads(pickle.dumps(row)), copy.copy(row), copy.deepcopy(row)):  # noqa: S301
        assert other == row
        other.state = json.dumps({"answer": other.grade + 1})
        other.save()
        assert Rows.get(pk=row.pk).state == other.state
        row = other
    rows = pickle.loads(pickle.dumps(Rows.filter(student=learners[1])))  # noqa: S301
    assert {each.student_id for each in rows} == {learners[1].pk}
    rows = Rows.all()
    rows.query = pickle.loads(pickle.dumps(Rows.filter(pk=row.pk).query))  # noqa: S301
    assert rows.get() == row


def test_a_locking_iterator_locks_or_refuses(learners: list[Any]) -> None:
    Client().set("ada", BLOCK, {"answer": 1})
    if not connection.features.has_select_for_update:
        assert len(list(Rows.select_for_update().iterator())) == Rows.count()
        return
    with pytest.raises(transaction.TransactionManagementError):
        list(Rows.select_for_update().iterator())


def test_ids_at_the_limits_have_a_number_and_those_beyond_none() -> None:
    # Without users: MariaDB would count on from the id of the highest.
    for student_id in (MAX_STUDENT, MAX_STUDENT + 1):
        Client().set(UserId(student_id), BLOCK, {"a": 1})
    row = Rows.get(student_id=MAX_STUDENT, **KEYS)
    assert row.pk < 2**53
    assert Rows.get(pk=row.pk) == row
    beyond = Rows.get(student_id=MAX_STUDENT + 1, **KEYS)
    assert beyond.pk is None
    assert Rows.filter(pk__isnull=True).count() == 1
    beyond.state = '{"a":2}'
    beyond.save()
    assert Client().get(UserId(MAX_STUDENT + 1), BLOCK).state == {"a": 2}
    made = Rows.create(student_id=MAX_STUDENT + 1, course_id=COURSE, module_state_key=make_block("new"), state="{}")
    assert made.pk is None
    made.grade, made.max_grade = 1, 2
    made.save()
    assert made.delete()[0] == 1
    assert Rows.filter(student_id=MAX_STUDENT + 1).delete()[0] == 1


@pytest.fixture
def counts_from_one() -> Iterator[None]:
    """Lets MariaDB count from 1 again: it goes on after the highest number that a table ever had."""
    yield
    if connection.vendor == "mysql":
        BlockNumber.objects.all().delete()
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {BlockNumber._meta.db_table} AUTO_INCREMENT = 1")


@pytest.mark.usefixtures("counts_from_one")
def test_blocks_beyond_the_limit_have_no_number(learners: list[Any]) -> None:
    block = make_block("late")
    Client().set("ada", block, {"a": 1})
    numbered = BlockNumber.objects.filter(block_id=identify_block(block).id)
    numbered.update(number=MAX_BLOCK)
    row = Rows.get(student=learners[0], module_state_key=block, course_id=COURSE)
    assert Rows.get(pk=row.pk) == row
    numbered.update(number=MAX_BLOCK + 1)
    assert Rows.get(student=learners[0], module_state_key=block, course_id=COURSE).pk is None
    assert not Rows.filter(pk=row.pk).exists()
    assert not Rows.filter(pk=row.pk + 1).exists()


def test_an_old_id_is_found_after_the_row_was_read_by_its_number(learners: list[Any]) -> None:
    row = Rows.first()
    number = row.pk
    ImportedModule._base_manager.create(
        id=4711, student_id=row.student_id, block_id=identify_block(row.module_state_key).id, revision=1
    )
    assert Rows.get(pk=number).pk == 4711
    row.refresh_from_db()
    assert row.pk == 4711


def test_a_rolled_back_block_leaves_no_trace(learners: list[Any]) -> None:
    before = sorted(Rows.values_list("pk", "state", "grade"))
    with transaction.atomic():
        Rows.update(state='{"answer":8}', grade=1)
        Rows.create(student=learners[0], **KEYS, state="{}")
        Rows.filter(student=learners[1]).delete()
        transaction.set_rollback(True)
    assert sorted(Rows.values_list("pk", "state", "grade")) == before
    row = Rows.create(student=learners[0], **KEYS, state="{}")
    assert Rows.get(pk=row.pk) == row


def test_a_row_deleted_meanwhile(learners: list[Any]) -> None:
    row = Rows.first()
    block = row.module_state_key
    Rows.get(pk=row.pk).delete()
    row.state = '{"answer":8}'
    with pytest.raises(DatabaseError):
        row.save()
    with pytest.raises(CompatibleStudentModule.DoesNotExist):
        row.refresh_from_db()
    assert Rows.bulk_create([CompatibleStudentModule(student=learners[0], module_state_key=block, course_id=COURSE)])
    assert row.delete()[0] == 1
    assert row.pk is None


def test_deleting_a_gone_row_counts_none(learners: list[Any]) -> None:
    row = Rows.first()
    Rows.get(pk=row.pk).delete()
    assert row.delete()[0] == 0


def test_a_deleted_instance_is_created_again_by_a_save(learners: list[Any]) -> None:
    row = Rows.get(student=learners[0], module_state_key=make_blocks(1)[0], course_id=COURSE)
    number = row.pk
    row.delete()
    row.save()
    assert (row.pk, row.grade, Rows.get(pk=number).state) == (number, 0, '{"answer":0}')
    with pytest.raises(ValueError, match="neither loaded nor saved"):
        CompatibleStudentModule(student=learners[0], **KEYS).delete()


def test_the_admin_shows_rows(learners: list[Any], rf: RequestFactory) -> None:
    class Page(ModelAdmin):  # type: ignore[type-arg]
        list_display = ("id", "student", "module_state_key", "grade")
        list_filter = ("module_type",)
        raw_id_fields = ("student",)

    page = Page(CompatibleStudentModule, AdminSite())
    request = rf.get("/")
    request.user = learners[0]
    learners[0].is_superuser = learners[0].is_staff = learners[0].is_active = True
    listed = page.get_changelist_instance(request)
    assert len(listed.result_list) == 9
    found = page.get_object(request, str(Rows.first().pk))
    assert found == Rows.first()
