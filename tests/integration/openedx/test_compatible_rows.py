"""The compatible ``StudentModule``: saves and deletes go through the write path, with revision and history."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.db import IntegrityError, NotSupportedError, connection, transaction
from django.db.utils import Error

from tests.factories import COURSE, make_block, make_blocks, make_learners
from xblock_user_state.client import DjangoXBlockUserStateClient as Client
from xblock_user_state.models import StudentModule, StudentModuleHistory
from xblock_user_state.openedx.models import BlockNumber, CompatibleStudentModule
from xblock_user_state.state.keys import identify_block

pytestmark = pytest.mark.django_db(transaction=True)

BLOCK = make_block()
KEYS: dict[str, Any] = {"course_id": COURSE, "module_state_key": BLOCK}
Rows = CompatibleStudentModule.objects


@pytest.fixture
def learner() -> Any:
    [user] = make_learners("ada")
    return user


def revision(user: Any, block: Any = BLOCK) -> int:
    return StudentModule.objects.get(student_id=user.pk, block_id=identify_block(block).id).revision


def texts(user: Any, block: Any = BLOCK) -> list[Any]:
    return [entry.state for entry in Client(user).get_history(user.username, block)]


def test_a_row_of_the_client_has_the_old_columns(learner: Any) -> None:
    Client().set("ada", BLOCK, {"answer": 1})
    Client().set_score("ada", BLOCK, 2, 3)
    row = Rows.get(student=learner, **KEYS)
    assert (row.module_type, row.module_state_key, row.course_id) == ("problem", BLOCK, COURSE)
    assert (row.state, row.grade, row.max_grade, row.done) == ('{"answer":1}', 2.0, 3.0, "na")
    stored = StudentModule.objects.get()
    assert (row.created, row.modified) == (stored.created, stored.modified)
    assert row.student == learner


def test_a_new_row_gets_key_times_and_number(learner: Any) -> None:
    row, is_new = Rows.get_or_create(student=learner, **KEYS, defaults={"state": "{}", "module_type": "problem"})
    assert is_new
    assert row.pk == 2**52 + learner.pk * 2**24 + BlockNumber.objects.get().number < 2**53
    assert (row.created, row.modified) == (StudentModule.objects.get().created, StudentModule.objects.get().modified)
    assert StudentModule.objects.get().state == "{}"
    assert texts(learner) == [None]
    again, is_new = Rows.get_or_create(student=learner, **KEYS, defaults={"state": "{}"})
    assert (again, is_new) == (row, False)
    assert revision(learner) == 1


def test_a_row_is_found_by_its_number(learner: Any) -> None:
    rows = [Rows.create(student=learner, course_id=COURSE, module_state_key=block) for block in make_blocks(5)]
    assert Rows.get(pk=rows[2].pk).module_state_key == rows[2].module_state_key
    assert set(Rows.filter(id__in=[rows[0].pk, rows[4].pk, 5, -1, 2**60])) == {rows[0], rows[4]}
    assert not Rows.filter(pk=rows[0].pk + 2**24).exists()
    assert not Rows.filter(pk=7).exists()
    assert Rows.exclude(pk=rows[0].pk).count() == 4
    assert Rows.in_bulk([rows[1].pk]) == {rows[1].pk: rows[1]}


def test_a_save_writes_what_differs_and_nothing_else(learner: Any) -> None:
    Client().set("ada", BLOCK, {"answer": 1, "attempts": 3})
    row = Rows.get(student=learner, **KEYS)
    Client().set("ada", BLOCK, {"answer": 2})
    row.state = json.dumps({"answer": 1, "attempts": 0})
    row.save()
    assert json.loads(Rows.get(pk=row.pk).state) == {"answer": 2, "attempts": 0}
    assert json.loads(row.state) == {"answer": 2, "attempts": 0}
    assert revision(learner) == 3
    assert row.modified == StudentModule.objects.get().modified
    row.save()
    assert revision(learner) == 3
    assert texts(learner)[0] == {"answer": 2, "attempts": 0}


def test_a_score_is_saved_by_update_or_create(learner: Any) -> None:
    for grade in (1, 4):
        row, _ = Rows.update_or_create(
            student_id=learner.pk, **KEYS, defaults={"grade": grade, "max_grade": 5, "module_type": "problem"}
        )
        assert (row.grade, Rows.get(pk=row.pk).grade) == (grade, grade)
    assert revision(learner) == 2


def test_a_second_new_row_is_refused(learner: Any) -> None:
    Rows.create(student=learner, **KEYS)
    with pytest.raises(IntegrityError):
        Rows.create(student=learner, **KEYS)
    with pytest.raises(ValueError, match="can't be chosen"):
        CompatibleStudentModule(id=3, student=learner, course_id=COURSE, module_state_key=make_block("new")).save()
    assert StudentModule.objects.count() == 1


def test_a_save_that_was_rolled_back_is_made_again(learner: Any) -> None:
    row = CompatibleStudentModule(student=learner, state='{"answer":1}', **KEYS)
    with transaction.atomic():
        row.save()
        transaction.set_rollback(True)
    assert not StudentModule.objects.exists()
    row.save()
    assert StudentModule.objects.get().state == '{"answer":1}'


def test_rows_are_deleted_with_their_history(learner: Any) -> None:
    [other] = make_learners("ben")
    for user in (learner, other):
        Client().set_many(user.username, {block: {"answer": 1} for block in make_blocks(3)})
    row = Rows.filter(student=learner).first()
    assert row.delete() == (1, {"xblock_user_state_openedx.CompatibleStudentModule": 1})
    assert (Rows.count(), StudentModuleHistory.objects.count()) == (5, 5)
    assert Rows.filter(student=learner).delete()[0] == 2
    assert (Rows.count(), StudentModuleHistory.objects.count()) == (3, 3)
    assert Rows.all().delete()[0] == 3
    assert not StudentModule.objects.exists()


def test_many_rows_are_written_in_one_transaction(learner: Any) -> None:
    made = Rows.bulk_create(
        CompatibleStudentModule(student=learner, course_id=COURSE, module_state_key=block, state='{"answer":1}')
        for block in make_blocks(3)
    )
    assert Rows.filter(pk__in=[row.pk for row in made]).update(grade=1, max_grade=2) == 3
    assert {(row.grade, row.max_grade, row.state) for row in Rows.all()} == {(1, 2, '{"answer":1}')}
    for row in made:
        row.state = '{"answer":2}'
    assert Rows.bulk_update(made, ["state"]) == 3
    assert set(StudentModule.objects.values_list("revision", "state", "grade")) == {(3, '{"answer":2}', 1.0)}
    assert len(texts(learner, make_blocks(1)[0])) == 3
    with pytest.raises(IntegrityError):
        Rows.bulk_create(
            CompatibleStudentModule(student=learner, course_id=COURSE, module_state_key=block)
            for block in (BLOCK, made[0].module_state_key)
        )
    assert Rows.count() == 3
    with pytest.raises(NotSupportedError, match="modified"):
        Rows.update(modified=None)


def test_the_view_can_be_read_only(learner: Any) -> None:
    Client().set("ada", BLOCK, {"answer": 1})
    table = CompatibleStudentModule._meta.db_table
    for sql in ("UPDATE {} SET state = 'x'", "UPDATE {} SET grade = 1", "DELETE FROM {}"):
        with pytest.raises(Error), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(sql.format(table))
    assert StudentModule.objects.get().state == '{"answer":1}'
