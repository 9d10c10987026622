"""Learners by id, in the place of their names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from xblock.fields import Scope

from tests.factories import make_block
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.interface import DoesNotExist, UserId, XBlockUserStateClient
from xblock_user_state.memory import InMemoryXBlockUserStateClient
from xblock_user_state.store.users import checked_id

BLOCK = make_block()
Ids = Mapping[str, UserId]

pytestmark = pytest.mark.not_for_visitors


def test_an_id_and_its_name_are_one_learner(client: XBlockUserStateClient, ids: Ids) -> None:
    client.set(ids["ann"], BLOCK, {"a": 1})
    client.set("ann", BLOCK, {"b": 2})
    client.set_score(ids["ann"], BLOCK, 1, 2)
    with client.batch(ids["ann"]) as batch:
        batch.set(None, {"language": "en"}, Scope.user_info)
    assert client.get("ann", BLOCK).state == {"a": 1, "b": 2}
    assert client.get("ann", None, Scope.user_info).state == {"language": "en"}
    assert client.get_scores("ann", [BLOCK]) == client.get_scores(ids["ann"], [BLOCK])
    assert client.get_encoded("ann", [BLOCK]) == client.get_encoded(ids["ann"], [BLOCK])
    client.delete(ids["ann"], BLOCK)
    with pytest.raises(DoesNotExist):
        client.get(ids["ann"], BLOCK)


def test_results_give_back_the_id(client: XBlockUserStateClient, ids: Ids) -> None:
    client.set("ann", BLOCK, {"a": 1})
    ann = ids["ann"]
    assert client.get(ann, BLOCK).username == ann
    assert [found.username for found in client.get_many(ann, [BLOCK])] == [ann]
    assert [found.username for found in client.get_history(ann, BLOCK)] == [ann]
    # Iterations name the learner.
    assert [found.username for found in client.iter_all_for_block(BLOCK)] == ["ann"]


def test_the_text_of_an_id_is_the_id(client: XBlockUserStateClient, ids: Ids) -> None:
    client.set(UserId(str(ids["ann"].id)), BLOCK, {"a": 1})
    assert client.get("ann", BLOCK).state == {"a": 1}


def test_an_id_of_no_user_is_the_callers_word(client: XBlockUserStateClient) -> None:
    stranger = UserId(987654)
    with pytest.raises(DoesNotExist):
        client.get(stranger, BLOCK)
    client.set(stranger, BLOCK, {"a": 1})
    assert client.get(stranger, BLOCK).state == {"a": 1}
    assert list(client.iter_all_for_block(BLOCK)) == []


def test_no_id_is_no_user(client: XBlockUserStateClient, statements: Callable[[], AbstractContextManager[Any]]) -> None:
    with statements() as seen, pytest.raises(ValueError, match="UserId\\(None\\) names no user"):
        client.get_scores(UserId(None), [BLOCK])
    assert len(seen) == 0


@pytest.mark.parametrize("given", ["ann", "", True, 1.5, 2**70, [1], b"1", "1\x00"], ids=repr)
def test_an_id_of_another_type_is_refused_before_any_statement(
    client: XBlockUserStateClient, statements: Callable[[], AbstractContextManager[Any]], given: Any
) -> None:
    if isinstance(client, InMemoryXBlockUserStateClient):
        pytest.skip("the client in memory knows no user model")
    for call in (
        lambda: client.get(UserId(given), BLOCK),
        lambda: client.set(UserId(given), BLOCK, {"a": 1}),
        lambda: client.set_score(UserId(given), BLOCK, 1, 2),
        lambda: next(iter(client.get_history(UserId(given), BLOCK))),
    ):
        with statements() as seen, pytest.raises(ValueError, match="is not the id of a user"):
            call()
        assert len(seen) == 0


def test_the_reason_why_an_id_is_none_is_a_sentence() -> None:
    with pytest.raises(ValueError, match=r"^'abc' is not the id of a user: “abc” value must be an integer\.$"):
        checked_id("abc")


def test_an_id_costs_no_statement(
    client: XBlockUserStateClient, ids: Ids, statements: Callable[[], AbstractContextManager[Any]]
) -> None:
    if not isinstance(client, DjangoXBlockUserStateClient):
        pytest.skip("the client sends no statement itself")
    with statements() as seen:
        client.get_scores(ids["ann"], [BLOCK])
    assert len(seen) == 1


def test_the_actor_of_a_change_is_a_name_also_when_asked_by_id(
    client: XBlockUserStateClient, ids: Ids, statements: Callable[[], AbstractContextManager[Any]]
) -> None:
    if not isinstance(client, DjangoXBlockUserStateClient):
        pytest.skip("the client knows no user")
    by_ann = DjangoXBlockUserStateClient(get_user_model().objects.get(username="ann"))
    by_ann.set("ann", BLOCK, {"a": 1})
    by_ann.set("ann", BLOCK, {"a": 2})
    with statements() as of_stranger:
        assert [entry.actor for entry in client.get_history(ids["ann"], BLOCK)] == ["ann", "ann"]
    # The client of the user knows the name.
    with statements() as of_user:
        assert [entry.actor for entry in by_ann.get_history(ids["ann"], BLOCK)] == ["ann", "ann"]
    assert len(of_stranger) == len(of_user) + 1
