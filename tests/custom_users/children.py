"""Rows of other tables that belong to a user. `tests.integration.test_user_models` runs this module."""

from __future__ import annotations

import uuid

import pytest

from tests.custom_users.models import Tutor, UuidChild, UuidPerson
from tests.factories import make_block
from xblock_user_state import actions
from xblock_user_state.client import DjangoXBlockUserStateClient as Client
from xblock_user_state.models import StudentModule, StudentModuleHistory

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

BLOCK = make_block()


def _tutor(number: uuid.UUID) -> Tutor:
    person = UuidPerson.objects.create_user("tutor")
    Tutor(person=person, number=number).save_base(raw=True)
    Client().set("tutor", BLOCK, {"of": "tutor"})
    return Tutor._base_manager.get()


def _learners() -> list[str | None]:
    return [found.username for found in Client().iter_all_for_block(BLOCK)]


def test_a_row_with_a_key_of_its_own_is_deleted_with_the_state_of_its_user_only() -> None:
    ann = UuidPerson.objects.create_user("ann")
    Client().set("ann", BLOCK, {"of": "ann"})
    # The number of a tutor may be the id of another user.
    _tutor(ann.pk).delete()
    assert UuidPerson.objects.get() == ann
    assert _learners() == ["ann"]


def test_a_row_with_a_key_of_its_own_stands_for_its_user() -> None:
    ann = UuidPerson.objects.create_user("ann")
    tutor = _tutor(ann.pk)
    for name in ("tutor", "ann"):
        Client(tutor).set(name, BLOCK, {"by": "tutor"})
        assert {entry.actor_id for entry in StudentModuleHistory.objects.filter(student__login=name)} >= {tutor.id}
    assert Client().get("tutor", BLOCK).state == {"of": "tutor", "by": "tutor"}
    actions.delete_learner(tutor)
    assert _learners() == ["ann"]


def test_a_user_who_stays_keeps_the_state() -> None:
    child = UuidChild.objects.create_user("ann")
    Client().set("ann", BLOCK, {"of": "ann"})
    child.delete(keep_parents=True)
    _tutor(uuid.uuid4()).delete(keep_parents=True)
    assert sorted(map(str, _learners())) == ["ann", "tutor"]
    for person in UuidPerson.objects.all():
        person.delete()
    assert StudentModule.objects.count() == 0


def test_a_user_goes_with_the_state_if_they_are_deleted_through_a_child() -> None:
    _tutor(uuid.uuid4()).delete()
    UuidChild.objects.create_user("ann")
    Client().set("ann", BLOCK, {"of": "ann"})
    UuidChild.objects.get().delete()
    assert not UuidPerson.objects.exists()
    assert StudentModule.objects.count() == 0
