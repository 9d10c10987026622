"""Scores that a host sets in a unit of work, in the database: one revision, and no statement that nobody asked for."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from xblock.fields import Scope
from xblock.runtime import KeyValueStore

from tests.factories import make_block, make_learners
from tests.integration.statements import captured
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.models import StudentModule
from xblock_user_state.runtime import UserStateKeyValueStore

pytestmark = pytest.mark.django_db(transaction=True)

BLOCK = make_block()


@pytest.fixture
def ann() -> Any:
    make_learners("ann")
    return get_user_model().objects.get(username="ann")


@pytest.mark.parametrize("guarded", [False, True])
def test_score_and_fields_are_one_revision_as_new_as_the_time(ann: Any, guarded: bool) -> None:
    client = DjangoXBlockUserStateClient(ann)
    field = KeyValueStore.Key(Scope.user_state, ann.pk, BLOCK, "attempts", "xblock.v1")
    for attempt in (1, 2, 3):
        kvs = UserStateKeyValueStore(client, ann)
        with kvs.unit_of_work(guarded=guarded):
            assert kvs.has(field) is (attempt > 1)
            updated = kvs.set_score(BLOCK, attempt, 3)
            kvs.set(field, attempt)
        row = StudentModule.objects.get()
        assert updated is not None
        assert row.modified >= updated
        assert row.revision == attempt
    assert [entry.revision for entry in client.get_history("ann", BLOCK)] == [3, 2, 1]


def test_only_the_time_costs_a_statement(ann: Any) -> None:
    client = DjangoXBlockUserStateClient(ann)
    client.set("ann", BLOCK, {"attempts": 0})
    field = KeyValueStore.Key(Scope.user_state, ann.pk, BLOCK, "attempts", "xblock.v1")
    numbers = []
    for with_score in (False, True):
        kvs = UserStateKeyValueStore(client, ann)
        with captured() as statements, kvs.unit_of_work():
            kvs.get(field)
            kvs.set(field, 1 + with_score)
            if with_score:
                kvs.set_score(BLOCK, 1, 1)
                kvs.get_score(BLOCK)
        numbers.append(len(statements))
    assert numbers[1] == numbers[0] + 1
