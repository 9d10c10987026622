"""An instance knows the values that it was loaded with: deferred, refreshed, copied, pickled, or rolled back."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import django
import pytest
from django.db import models, transaction

from tests.factories import make_block, make_learners
from tests.integration.rows import assert_history_is_gapless, rows_of
from tests.integration.statements import captured
from xblock_user_state.client import DjangoXBlockUserStateClient as Client
from xblock_user_state.models import Block, StudentModule

pytestmark = pytest.mark.django_db(transaction=True)

BLOCK = make_block()


class Undone(Exception):
    """Rolls a transaction back."""


@pytest.fixture(autouse=True)
def ann() -> Any:
    ann = make_learners("ann")[0]
    Client().set("ann", BLOCK, {"a": 1})
    Client().set_score("ann", BLOCK, 1, 10)
    return ann


def pickled(module: StudentModule) -> Any:
    return pickle.loads(pickle.dumps(module))  # noqa: S301


def write_meanwhile() -> None:
    Client().set("ann", BLOCK, {"a": 2, "b": 1})
    Client().set_score("ann", BLOCK, 5, 50)


def state() -> Any:
    return Client().get("ann", BLOCK).state


def score() -> tuple[Any, Any]:
    found = Client().get_scores("ann", [BLOCK])[BLOCK]
    return found.grade, found.max_grade


def test_deferred_columns_are_not_written() -> None:
    module = StudentModule.objects.only("done").get()
    write_meanwhile()
    with captured() as statements:
        module.save()
    assert statements == []
    module.done = "f"
    module.save()
    assert module.get_deferred_fields() >= {"state", "grade", "max_grade"}
    assert (state(), score()) == ({"a": 2, "b": 1}, (5, 50))
    assert StudentModule.objects.get().done == "f"


def test_deferred_columns_that_are_read_are_compared() -> None:
    module = StudentModule.objects.defer("state").get()
    assert module.state == '{"a":1}'
    write_meanwhile()
    module.state = '{"a": 1, "c": 1}'
    module.save()
    assert (state(), score()) == ({"a": 2, "b": 1, "c": 1}, (5, 50))


def test_a_deferred_state_that_is_assigned_is_meant_as_a_whole() -> None:
    module = StudentModule.objects.defer("state", "max_grade").get()
    write_meanwhile()
    module.state, module.grade = '{"a": 3}', 7
    module.save()
    assert (state(), score()) == ({"a": 3}, (7, 50))
    assert module.state == '{"a":3}'
    Client().set("ann", BLOCK, {"b": 2})
    module.state = '{"a": 4}'
    module.save()
    assert state() == {"a": 4, "b": 2}
    assert_history_is_gapless()


@pytest.mark.skipif(django.VERSION < (6, 1), reason="fetch modes came with Django 6.1")
def test_deferred_columns_that_are_fetched_for_peers() -> None:
    Client().set("ann", make_block("other"), {"a": 1})
    modes: Any = models
    rows: Any = StudentModule.objects.defer("state")
    # Fetched for all that are alive.
    peers = list(rows.fetch_mode(modes.FETCH_PEERS))
    [module] = [each for each in peers if each.grade]
    assert module.state == '{"a":1}'
    write_meanwhile()
    module.done = "f"
    module.save()
    assert state() == {"a": 2, "b": 1}


def test_a_refreshed_instance_compares_with_the_new_values() -> None:
    module = StudentModule.objects.get()
    module.state, module.grade = '{"mine": 1}', 9
    write_meanwhile()
    module.refresh_from_db()
    with captured() as statements:
        module.save()
    assert statements == []
    module.state = '{"a":2}'
    module.save()
    assert (state(), score()) == ({"a": 2}, (5, 50))


@pytest.mark.parametrize(
    "options",
    [{"fields": ["grade", "max_grade"]}, {"from_queryset": StudentModule.objects.defer("state")}],
    ids=["fields", "queryset"],
)
def test_a_partly_refreshed_instance_keeps_what_was_assigned(options: dict[str, Any]) -> None:
    module = StudentModule.objects.get()
    module.state, module.grade = '{"a": 1, "mine": 1}', 9
    write_meanwhile()
    module.refresh_from_db(**options)
    assert (module.state, module.grade) == ('{"a": 1, "mine": 1}', 5)
    module.save()
    assert (state(), score()) == ({"a": 2, "b": 1, "mine": 1}, (5, 50))


@pytest.mark.parametrize(
    "copied",
    [copy.copy, copy.deepcopy, pickled],
    ids=["copy", "deep", "pickle"],
)
@pytest.mark.parametrize("in_transaction", [False, True])
def test_copies_know_the_loaded_values_too(copied: Callable[[Any], Any], in_transaction: bool) -> None:
    module = StudentModule.objects.get()
    if in_transaction:
        with transaction.atomic():
            module.done = "f"
            module.save()
            twin = copied(module)
    else:
        twin = copied(module)
    write_meanwhile()
    module.state = '{"a": 1, "module": 1}'
    module.save()
    twin.state = '{"a": 1, "twin": 1}'
    twin.save()
    assert (state(), score()) == ({"a": 2, "b": 1, "module": 1, "twin": 1}, (5, 50))
    assert_history_is_gapless()


def rolled_back(*acts: Callable[[], None]) -> None:
    with pytest.raises(Undone), transaction.atomic():  # noqa: PT012 (a rollback that the acts are part of)
        for act in acts:
            act()
        raise Undone


def test_a_save_that_was_rolled_back_is_made_again() -> None:
    module = StudentModule.objects.get()
    module.state, module.grade, module.done = '{"a": 1, "mine": 1}', 9, "f"
    rolled_back(module.save)
    assert state() == {"a": 1}
    write_meanwhile()
    module.save()
    assert state() == {"a": 2, "b": 1, "mine": 1}
    assert score() == (9, 10)
    assert [module.column_values()] == rows_of(StudentModule)
    assert module.done == "f"
    assert_history_is_gapless()


def test_values_assigned_after_a_rollback_count() -> None:
    module = StudentModule.objects.get()
    module.state = '{"a": 1, "mine": 1}'
    rolled_back(module.save)
    module.state = '{"a": 3}'
    module.save()
    assert state() == {"a": 3}
    assert module.revision == StudentModule.objects.get().revision == 3
    assert_history_is_gapless()


def test_a_rolled_back_savepoint() -> None:
    module = StudentModule.objects.get()
    with transaction.atomic():
        module.state = '{"a": 1, "first": 1}'
        module.save()
        module.state = '{"a": 1, "first": 1, "second": 1}'
        rolled_back(module.save)
        assert state() == {"a": 1, "first": 1}
        Client().set("ann", BLOCK, {"first": 2})
        module.save()
        assert state() == {"a": 1, "first": 2, "second": 1}
    module.save()
    assert module.revision == StudentModule.objects.get().revision == 5
    assert_history_is_gapless()


def test_two_saves_that_were_rolled_back_together() -> None:
    module = StudentModule.objects.get()

    def save_twice() -> None:
        for text in ('{"a": 1, "first": 1}', '{"a": 1, "first": 1, "second": 1}'):
            module.state = text
            module.save()

    rolled_back(save_twice)
    module.save()
    assert state() == {"a": 1, "first": 1, "second": 1}
    assert module.revision == 3
    assert_history_is_gapless()


def test_a_save_that_was_committed_is_not_made_again() -> None:
    module = StudentModule.objects.get()
    with transaction.atomic():
        module.state = '{"a": 3}'
        module.save()
    Client().set("ann", BLOCK, {"a": 4})
    module.done = "f"
    module.save()
    assert state() == {"a": 4}
    rolled_back(module.refresh_from_db)
    module.state = '{"a": 4, "b": 1}'
    module.save()
    assert state() == {"a": 4, "b": 1}


def test_a_creation_that_was_rolled_back(ann: Any) -> None:
    StudentModule.objects.all().delete()
    module = StudentModule(student=ann, block=Block.objects.get(), state='{"a": 5}')
    rolled_back(module.save)
    assert not StudentModule.objects.exists()
    assert module.is_new
    module.save()
    assert (module.revision, state()) == (1, {"a": 5})
    assert [module.column_values()] == rows_of(StudentModule)
    assert_history_is_gapless()
