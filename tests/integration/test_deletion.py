"""Permanent deletion through the ORM takes the history along, and nothing else."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.db import Error, transaction
from django.db.models import ProtectedError
from django.db.models.signals import post_delete
from opaque_keys.edx.locator import CourseLocator
from xblock.fields import Scope

from tests.factories import make_block, make_blocks, make_learners
from tests.integration.interference import refusing
from tests.integration.rows import STATE_MODELS, everything, rows_of
from tests.integration.statements import captured
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.history import deletion
from xblock_user_state.interface import DoesNotExist
from xblock_user_state.models import Block, LearningContext, StudentModule, StudentModuleHistory, UserStateSummary
from xblock_user_state.state.keys import identify_block

pytestmark = pytest.mark.django_db
BLOCKS = make_blocks(3)
OWNED = [model for model in STATE_MODELS if model is not UserStateSummary]


class Undo(Exception):
    """Raised to roll a transaction back."""


@pytest.fixture
def learners() -> dict[str, User]:
    """Three learners with state, scores and history in the same blocks and scopes."""
    made = {user.username: user for user in make_learners("ann", "bob", "cid")}
    for name in made:
        client = DjangoXBlockUserStateClient()
        for value in (1, 2):
            client.set_many(name, {key: {"who": name, "value": value} for key in BLOCKS})
        client.set_score(name, BLOCKS[0], 1, 2)
        client.set(name, "problem", {"who": name}, Scope.preferences)
        client.set(name, None, {"who": name}, Scope.user_info)
        client.set(name, BLOCKS[0], {"who": name}, Scope.user_state_summary)
    return made


def _module(username: str, key: Any) -> StudentModule:
    return StudentModule.objects.get(student__username=username, block_id=identify_block(key).id)


def _without(rows: dict[str, list[dict[str, Any]]], **of: Any) -> dict[str, list[dict[str, Any]]]:
    """Return `rows` without the rows that have these values."""
    return {
        table: [row for row in of_table if not of.items() <= row.items()] if table in OF_MODULE else of_table
        for table, of_table in rows.items()
    }


OF_MODULE = ("StudentModule", "StudentModuleHistory")


def test_deleting_a_row_deletes_its_history(learners: dict[str, User]) -> None:
    before = everything()
    module = _module("ann", BLOCKS[0])
    of = {"student_id": module.student_id, "block_id": module.block_id}
    module.delete()
    assert everything() == _without(before, **of)
    assert len(before["StudentModuleHistory"]) - len(rows_of(StudentModuleHistory)) == 3
    client = DjangoXBlockUserStateClient()
    with pytest.raises(DoesNotExist):
        next(client.get_history("ann", BLOCKS[0]))
    assert client.get_scores("ann", BLOCKS) == {}


def test_deleting_a_queryset_deletes_its_history(learners: dict[str, User]) -> None:
    before = everything()
    StudentModule.objects.filter(block_id=identify_block(BLOCKS[1]).id).delete()
    assert everything() == _without(before, block_id=identify_block(BLOCKS[1]).id)
    StudentModule.objects.filter(student=learners["bob"]).delete()
    rest = _without(_without(before, block_id=identify_block(BLOCKS[1]).id), student_id=learners["bob"].pk)
    assert everything() == rest
    StudentModule.objects.all().delete()
    assert rows_of(StudentModule) == rows_of(StudentModuleHistory) == []


def _deleted_by_instance(user: User) -> None:
    user.delete()


def _deleted_by_queryset(user: User) -> None:
    User.objects.filter(pk=user.pk).delete()


def _deleted_by_proxy(user: User) -> None:
    """Delete through a proxy of the user model, as admin sites do.

    ready() connects signals only for models that exist at start-up, so connect again.
    """

    class Person(User):
        class Meta:
            proxy = True
            app_label = "auth"

    try:
        deletion.connect()
        Person.objects.get(pk=user.pk).delete()
    finally:
        post_delete.disconnect(sender=Person, dispatch_uid="xblock_user_state.learner")
        del apps.all_models["auth"]["person"]
        apps.clear_cache()


@pytest.mark.parametrize(
    "delete",
    [_deleted_by_instance, _deleted_by_queryset, _deleted_by_proxy],
    ids=lambda delete: delete.__name__.rpartition("_")[2],
)
def test_deleting_a_user_deletes_all_that_is_theirs_and_nothing_of_others(
    learners: dict[str, User], delete: Any
) -> None:
    before = everything()
    ann = learners["ann"].pk
    delete(learners["ann"])
    assert not User.objects.filter(pk=ann).exists()
    expected = {table: [row for row in rows if row.get("student_id") != ann] for table, rows in before.items()}
    assert everything() == expected
    assert all(len(expected[model.__name__]) < len(before[model.__name__]) for model in OWNED)


def test_deleting_several_users(learners: dict[str, User]) -> None:
    User.objects.filter(username__in=["ann", "bob"]).delete()
    for model in OWNED:
        assert {row["student_id"] for row in rows_of(model)} == {learners["cid"].pk}


def test_deleting_a_user_has_as_many_statements_whatever_they_did(learners: dict[str, User]) -> None:
    client = DjangoXBlockUserStateClient()
    client.set_many("ann", {key: {"a": 1} for key in make_blocks(50)})
    client.set("bob", make_block(), {"a": 1})
    counts = []
    for name in ("ann", "bob"):
        with captured() as statements:
            learners[name].delete()
        counts.append(len(statements))
    assert counts[0] == counts[1]


def test_an_entry_that_a_deleted_user_made_for_another_stays(learners: dict[str, User]) -> None:
    """An entry that staff wrote is part of the learner's history, not of theirs."""
    DjangoXBlockUserStateClient(learners["cid"]).set("ann", BLOCKS[0], {"by": "cid"})
    learners["cid"].delete()
    entry = next(DjangoXBlockUserStateClient().get_history("ann", BLOCKS[0]))
    assert (entry.state or {})["by"] == "cid"


def test_a_deletion_that_is_rolled_back_deletes_nothing(learners: dict[str, User]) -> None:
    before = everything()
    with suppress(Undo), transaction.atomic():
        _module("ann", BLOCKS[0]).delete()
        learners["bob"].delete()
        raise Undo
    assert everything() == before


def test_a_name_that_is_free_again_starts_with_nothing(learners: dict[str, User]) -> None:
    learners["ann"].delete()
    make_learners("ann")
    client = DjangoXBlockUserStateClient()
    assert list(client.get_many("ann", BLOCKS)) == []
    client.set("ann", BLOCKS[0], {"new": 1})
    assert [entry.state for entry in client.get_history("ann", BLOCKS[0])] == [{"new": 1}]


def test_after_deletion_a_row_starts_again_at_revision_one(learners: dict[str, User]) -> None:
    _module("ann", BLOCKS[0]).delete()
    client = DjangoXBlockUserStateClient()
    client.set("ann", BLOCKS[0], {"new": 1})
    assert _module("ann", BLOCKS[0]).revision == 1
    assert len(list(client.get_history("ann", BLOCKS[0]))) == 1


def test_the_clients_delete_keeps_row_and_history(learners: dict[str, User]) -> None:
    client = DjangoXBlockUserStateClient()
    client.delete("ann", BLOCKS[0])
    client.delete_many("ann", BLOCKS[1:], fields=["who", "value"])
    for key, revision in zip(BLOCKS, (4, 3, 3), strict=True):
        assert (_module("ann", key).revision, _module("ann", key).state) == (revision, "{}")
        assert len(list(client.get_history("ann", key))) == revision


def test_a_block_or_course_with_state_is_not_deleted(learners: dict[str, User]) -> None:
    with pytest.raises(ProtectedError):
        Block.objects.all().delete()
    with pytest.raises(ProtectedError):
        LearningContext.objects.all().delete()
    StudentModule.objects.all().delete()
    with pytest.raises(ProtectedError):
        Block.objects.filter(pk=identify_block(BLOCKS[0]).id).delete()
    UserStateSummary.objects.all().delete()
    Block.objects.all().delete()
    LearningContext.objects.all().delete()


def test_a_course_without_state_can_be_deleted_beside_others(learners: dict[str, User]) -> None:
    key = make_block(course=CourseLocator("Zoo", "Z1", "2026"))
    client = DjangoXBlockUserStateClient()
    client.set("ann", key, {"a": 1})
    StudentModule.objects.filter(block__context__key="course-v1:Zoo+Z1+2026").delete()
    Block.objects.filter(context__key="course-v1:Zoo+Z1+2026").delete()
    LearningContext.objects.filter(key="course-v1:Zoo+Z1+2026").delete()
    assert client.get("ann", BLOCKS[0]).state == {"who": "ann", "value": 2}


@pytest.mark.django_db(transaction=True)
def test_history_that_cannot_be_deleted_keeps_the_row(learners: dict[str, User]) -> None:
    before = everything()
    with refusing("DELETE", StudentModuleHistory, f"OLD.block_id = {identify_block(BLOCKS[0]).id}"):
        with pytest.raises(Error, match="refused by the test"):
            _module("ann", BLOCKS[0]).delete()
        with pytest.raises(Error, match="refused by the test"):
            StudentModule.objects.all().delete()
        with pytest.raises(Error, match="refused by the test"):
            learners["ann"].delete()
    assert everything() == before
    assert User.objects.filter(username="ann").exists()
