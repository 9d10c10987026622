"""New instances are rows of revision 1 with a history entry; a row that exists is never overwritten."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import DatabaseError, IntegrityError, transaction
from xblock.fields import Scope

from tests.factories import make_block, make_learners
from tests.integration.rows import assert_history_is_gapless, everything, rows_of
from tests.integration.statements import captured
from xblock_user_state.client import DjangoXBlockUserStateClient as Client
from xblock_user_state.models import Block, Preferences, StudentModule, StudentModuleHistory
from xblock_user_state.state.keys import identify_block

pytestmark = pytest.mark.django_db(transaction=True)

BLOCK = make_block()
BLOCK_ID = identify_block(BLOCK).id


@pytest.fixture(autouse=True)
def ann() -> Any:
    ann, _ = make_learners("ann", "bob")
    # Registers the block.
    Client().set("bob", BLOCK, {"of": "bob"})
    return ann


def state() -> Any:
    return Client().get("ann", BLOCK).state


def stored() -> StudentModule:
    return StudentModule.objects.get(student__username="ann")


def assert_is_as_stored(module: StudentModule) -> None:
    assert [module.column_values()] == rows_of(StudentModule, student__username="ann")


@pytest.mark.parametrize(
    ("text", "kept"),
    [(None, None), ("{}", "{}"), ('{"a": [1, "é"]}', '{"a":[1,"\\u00e9"]}')],
    ids=["no state", "no fields", "fields"],
)
@pytest.mark.parametrize("score", [(None, None), (3, 4)], ids=["no score", "score"])
def test_a_new_row(ann: Any, text: str | None, kept: str | None, score: tuple[Any, Any]) -> None:
    grade, max_grade = score
    module = StudentModule(student=ann, block=Block.objects.get(), state=text, grade=grade, max_grade=max_grade)
    module.save()
    assert (module.revision, module.state, module.grade, module.max_grade) == (1, kept, grade, max_grade)
    assert module.created == module.modified
    assert_is_as_stored(module)
    [entry] = StudentModuleHistory.get_history(StudentModule.objects.filter(student=ann))
    assert (entry.revision, entry.state, entry.grade, entry.actor_id) == (1, kept, grade, None)
    Client().set("ann", BLOCK, {"learner": 1})
    module.state = '{"staff": 1}'
    module.save()
    assert {"learner": 1, "staff": 1}.items() <= state().items()
    assert module.revision == 3
    assert_history_is_gapless()


def test_create_refuses_a_row_that_exists(ann: Any) -> None:
    Client().set("ann", BLOCK, {"a": 1})
    before = everything()
    for make in (StudentModule.objects.create, lambda **values: StudentModule(**values).save()):
        with pytest.raises(IntegrityError, match=rf"StudentModule \(student_id {ann.pk}, block_id .* exists: load it"):
            make(student=ann, block_id=BLOCK_ID, state='{"b":1}')
        with transaction.atomic():
            with pytest.raises(IntegrityError, match="exists"), transaction.atomic():
                make(student=ann, block_id=BLOCK_ID)
            assert everything() == before
    assert everything() == before


def test_get_or_create_and_update_or_create(ann: Any) -> None:
    """As edx-sga does before it stores grades and files."""
    module, created = StudentModule.objects.get_or_create(student=ann, block_id=BLOCK_ID, defaults={"state": "{}"})
    assert (created, module.revision, module.state) == (True, 1, "{}")
    again, created = StudentModule.objects.get_or_create(student=ann, block_id=BLOCK_ID, defaults={"state": "{}"})
    assert (created, again) == (False, module)
    Client().set("ann", BLOCK, {"learner": 1})
    changed, created = StudentModule.objects.update_or_create(
        student=ann, block_id=BLOCK_ID, defaults={"grade": 1, "max_grade": 2}
    )
    assert (created, changed.revision) == (False, 3)
    assert state() == {"learner": 1}
    assert_is_as_stored(changed)
    stored().delete()
    made, created = StudentModule.objects.update_or_create(
        student=ann, block_id=BLOCK_ID, defaults={"state": '{"a":1}'}
    )
    assert (created, made.revision) == (True, 1)
    assert_is_as_stored(made)
    assert_history_is_gapless()


def test_coroutines(ann: Any) -> None:
    async def make() -> bool:
        await StudentModule.objects.acreate(student_id=ann.pk, block_id=BLOCK_ID, state='{"a":1}')
        _, created = await StudentModule.objects.aget_or_create(student_id=ann.pk, block_id=BLOCK_ID)
        return created

    assert async_to_sync(make)() is False
    assert state() == {"a": 1}
    assert_history_is_gapless()


def test_keys_given_as_text(ann: Any) -> None:
    module = StudentModule(student_id=str(ann.pk), block_id=str(BLOCK_ID), state='{"a":1}')
    module.save()
    module.state = '{"a":2}'
    module.save()
    assert state() == {"a": 2}
    assert_history_is_gapless()


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"block_id": None}, ValueError, "can't be saved without student_id and block_id"),
        ({"revision": 5}, ValueError, "revision of StudentModule .* can't be saved as 5"),
        ({"created": datetime(2020, 1, 1, tzinfo=UTC)}, ValueError, "created of .* only the write path sets it"),
        ({"history_chain": 3}, ValueError, "history_chain of .* only the write path sets it"),
        ({"state": "no JSON"}, ValueError, "is not JSON"),
    ],
)
def test_bad_values(ann: Any, values: dict[str, Any], error: type[Exception], message: str) -> None:
    before = everything()
    with captured() as statements, pytest.raises(error, match=message):
        StudentModule.objects.create(**{"student": ann, "block_id": BLOCK_ID, **values})
    assert statements == []
    assert everything() == before


def test_a_block_that_is_not_registered(ann: Any) -> None:
    before = everything()
    with pytest.raises(IntegrityError, match="there is no such Block; DjangoXBlockUserStateClient registers"):
        StudentModule.objects.create(student=ann, block_id=5, state="{}")
    assert everything() == before


def test_a_text_that_is_no_block_type(ann: Any) -> None:
    for text in ("not a type", "block-type-v1:xblock.v1:problem"):
        with pytest.raises(ValueError, match=r"is not (a|the text)"):
            Preferences.objects.create(student=ann, block_type=text, state="{}")
    Preferences.objects.create(student=ann, block_type="problem", state='{"a":1}')
    assert Client().get("ann", "problem", Scope.preferences).state == {"a": 1}


def test_done_of_a_new_row(ann: Any) -> None:
    module = StudentModule.objects.create(student=ann, block_id=BLOCK_ID, done="i")
    assert_is_as_stored(module)
    assert stored().done == "i"
    assert_history_is_gapless()


def test_a_copy_for_another_learner(ann: Any) -> None:
    copy = StudentModule.objects.get()
    copy.student, copy._state.adding = ann, True
    copy.save()
    assert state() == {"of": "bob"}
    assert_is_as_stored(copy)
    with pytest.raises(IntegrityError, match="exists"):
        copy.save(force_insert=True)
    assert_history_is_gapless()


def test_an_update_without_loading(ann: Any) -> None:
    """Named columns are written as they are given; others stay."""
    Client().set("ann", BLOCK, {"a": 1})
    Client().set_score("ann", BLOCK, 1, 2)
    module = StudentModule(student=ann, block_id=BLOCK_ID, grade=2)
    module.save(update_fields=["grade"])
    assert (stored().state, stored().grade, stored().max_grade) == ('{"a":1}', 2, 2)
    module.state = '{"b":1}'
    module.save(update_fields=["state"])
    assert state() == {"b": 1}
    for force in (True, False):
        with pytest.raises(ValueError, match="was not loaded, so save\\(\\) can't tell which values are new"):
            module.save(force_update=force)
    module.refresh_from_db(fields=["grade"])
    with pytest.raises(ValueError, match="was not loaded"):
        module.save()
    module.refresh_from_db()
    module.max_grade = 4
    module.save(force_update=True)
    assert (stored().state, stored().grade, stored().max_grade) == ('{"b":1}', 2, 4)
    stored().delete()
    with pytest.raises(DatabaseError, match="was deleted"):
        StudentModule(student=ann, block_id=BLOCK_ID, grade=2).save(update_fields=["grade"])
    assert_history_is_gapless()


def test_a_new_instance_that_was_refreshed(ann: Any) -> None:
    Client().set("ann", BLOCK, {"a": 1})
    module = StudentModule(student=ann, block_id=BLOCK_ID)
    module.refresh_from_db()
    module.state = '{"a":2}'
    module.save()
    assert state() == {"a": 2}
    assert module.revision == 2
