"""A client with a policy asks it in each method, before any statement on state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from types import FunctionType
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from opaque_keys.edx.asides import AsideUsageKeyV2
from opaque_keys.edx.keys import UsageKey
from xblock.fields import Scope

from tests.factories import COURSE, make_block
from tests.policies import Asked, refuse
from xblock_user_state.access import OwnState, Policy, Question
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.interface import DoesNotExist, PermissionDenied, UserDoesNotExist, UserId, XBlockUserStateClient
from xblock_user_state.memory import InMemoryXBlockUserStateClient

pytestmark = pytest.mark.not_for_visitors

BLOCK = make_block()
SUMMARY = Scope.user_state_summary
Calls = Mapping[str, Callable[[Any, Any], Any]]


def in_batch(client: Any, learner: Any) -> None:
    with client.batch(learner) as batch:
        batch.set(BLOCK, {"a": 1})


def in_empty_batch(client: Any, learner: Any) -> None:
    with client.batch(learner):
        pass


def while_locked(client: Any, learner: Any) -> None:
    with client.locked(learner, {Scope.user_state: [BLOCK]}):
        pass


OF_A_LEARNER: Calls = {
    "get": lambda client, learner: client.get(learner, BLOCK),
    "get_many": lambda client, learner: client.get_many(learner, [BLOCK]),
    "get_encoded": lambda client, learner: client.get_encoded(learner, [BLOCK]),
    "get_encoded_rows": lambda client, learner: client.get_encoded_rows(learner, [(Scope.user_state, BLOCK)]),
    "get_scores": lambda client, learner: client.get_scores(learner, [BLOCK]),
    "get_latest": lambda client, learner: client.get_latest(learner, course_key=COURSE),
    "get_history": lambda client, learner: client.get_history(learner, BLOCK),
    "set": lambda client, learner: client.set(learner, BLOCK, {"a": 1}),
    "set_many": lambda client, learner: client.set_many(learner, {BLOCK: {"a": 1}}),
    "delete": lambda client, learner: client.delete(learner, BLOCK),
    "delete_many": lambda client, learner: client.delete_many(learner, [BLOCK]),
    "replace": lambda client, learner: client.replace(learner, BLOCK, {}),
    "set_score": lambda client, learner: client.set_score(learner, BLOCK, 1, 2),
    "batch": in_batch,
    "locked": while_locked,
}
OF_ALL: Calls = {
    "iter_all_for_block": lambda client, _: client.iter_all_for_block(BLOCK),
    "iter_all_for_course": lambda client, _: client.iter_all_for_course(COURSE),
    "find_blocks": lambda client, _: client.find_blocks(BLOCK),
}
WITHOUT_BLOCKS: Calls = {
    "get_many": lambda client, learner: client.get_many(learner, []),
    "get_encoded": lambda client, learner: client.get_encoded(learner, []),
    "get_encoded_rows": lambda client, learner: client.get_encoded_rows(learner, []),
    "get_scores": lambda client, learner: client.get_scores(learner, []),
    "set_many": lambda client, learner: client.set_many(learner, {}),
    "delete_many": lambda client, learner: client.delete_many(learner, []),
    "batch": in_empty_batch,
    "locked": lambda client, learner: client.locked(learner, {}).__enter__(),
}
READS = {"get", "get_many", "get_encoded", "get_encoded_rows", "get_scores", "get_latest"}


def acting(client: XBlockUserStateClient, name: str | None, policy: Policy | None) -> XBlockUserStateClient:
    """Return a client of another user over the same state."""
    if isinstance(client, InMemoryXBlockUserStateClient):
        return client.for_user(name, policy)
    user = None if name is None else get_user_model().objects.get(username=name)
    return DjangoXBlockUserStateClient(user, policy)


def action_of(method: str) -> str:
    if method in OF_ALL:
        return "report"
    return "read" if method in READS else "see_history" if method == "get_history" else "write"


def test_these_are_all_methods_of_the_contract() -> None:
    contract = {
        name
        for name, value in vars(XBlockUserStateClient).items()
        if isinstance(value, FunctionType) and name[0] != "_"
    }
    assert {*OF_A_LEARNER, *OF_ALL} == contract


@pytest.fixture
def refused(client: XBlockUserStateClient, statements: Callable[[], AbstractContextManager[Any]]) -> Callable[..., str]:
    """Makes a call that must be refused before any statement; returns the error's text."""

    def check(call: Callable[[Any, Any], Any], learner: Any, policy: Policy) -> str:
        of_bob = acting(client, "bob", policy)
        with statements() as seen, pytest.raises(PermissionDenied) as raised:
            call(of_bob, learner)
        assert len(seen) == 0
        assert raised.type is PermissionDenied
        return str(raised.value)

    return check


@pytest.mark.parametrize("method", [*OF_A_LEARNER, *OF_ALL])
def test_each_method_asks_first(client: XBlockUserStateClient, refused: Callable[..., str], method: str) -> None:
    client.set("ann", BLOCK, {"a": 0})
    policy = Asked(refuse)
    message = refused({**OF_A_LEARNER, **OF_ALL}[method], "ann", policy)
    learner = None if method in OF_ALL else "ann"
    block = None if method in ("get_latest", "iter_all_for_course") else BLOCK
    [question] = policy.questions
    actor = question.actor if isinstance(question.actor, str) else question.actor.get_username()
    assert (actor, *question[1:]) == ("bob", action_of(method), learner, COURSE, block)
    assert [
        part
        for part in ("'bob' may not", repr(learner or "all learners").strip("'"), str(COURSE))
        if part not in message
    ] == []
    assert client.get("ann", BLOCK).state == {"a": 0}


@pytest.mark.parametrize("method", OF_A_LEARNER)
def test_a_refusal_does_not_tell_who_exists(refused: Callable[..., str], method: str) -> None:
    call = OF_A_LEARNER[method]
    messages = {refused(call, name, OwnState()).replace(name, "learner") for name in ("ann", "nobody")}
    assert len(messages) == 1
    assert "UserId" in refused(call, UserId(987654), OwnState())


@pytest.mark.parametrize("method", WITHOUT_BLOCKS)
def test_a_call_without_blocks_asks_too(refused: Callable[..., str], method: str) -> None:
    policy = Asked(refuse)
    refused(WITHOUT_BLOCKS[method], "nobody", policy)
    assert [question[1:] for question in policy.questions] == [(action_of(method), "nobody", None, None)]


@pytest.mark.parametrize("method", OF_A_LEARNER)
def test_what_a_policy_allows_is_done(client: XBlockUserStateClient, method: str) -> None:
    client.set("ann", BLOCK, {"a": 0})
    OF_A_LEARNER[method](acting(client, "bob", Asked()), "ann")
    OF_A_LEARNER[method](acting(client, "ann", OwnState()), "ann")
    # The host's own code.
    OF_A_LEARNER[method](acting(client, "bob", None), "ann")


def test_an_unknown_learner_is_told_to_who_may_write_to_all(client: XBlockUserStateClient) -> None:
    if isinstance(client, InMemoryXBlockUserStateClient):
        pytest.skip("in memory every name is a user")
    with pytest.raises(UserDoesNotExist):
        acting(client, "bob", Asked()).set("nobody", BLOCK, {})


def test_a_learner_by_id_is_named_where_it_is_their_own(
    client: XBlockUserStateClient, ids: Mapping[str, UserId]
) -> None:
    own = acting(client, "ann", OwnState())
    own.set(ids["ann"], BLOCK, {"a": 1})
    assert own.get(UserId(str(ids["ann"].id)), BLOCK).state == {"a": 1}
    with pytest.raises(PermissionDenied):
        own.get(ids["bob"], BLOCK)


def test_learners_share_the_summary_of_a_block(client: XBlockUserStateClient) -> None:
    acting(client, "ann", OwnState()).set(None, BLOCK, {"votes": 1}, SUMMARY)
    visitor = acting(client, None, OwnState())
    assert visitor.get(None, BLOCK, SUMMARY).state == {"votes": 1}
    with pytest.raises(PermissionDenied, match="'' may not change the state of all learners"):
        visitor.set(None, BLOCK, {"votes": 2}, SUMMARY)
    with pytest.raises(PermissionDenied):
        list(acting(client, "ann", OwnState()).iter_all_for_block(BLOCK, SUMMARY))


def test_a_visitor_has_no_state_to_read(client: XBlockUserStateClient) -> None:
    visitor = acting(client, None, OwnState())
    assert list(visitor.get_many("", [BLOCK])) == []
    with pytest.raises(PermissionDenied):
        visitor.get_many("ann", [BLOCK])


@pytest.mark.parametrize(
    ("key", "scope", "asked"),
    [
        (COURSE.for_branch("draft").make_usage_key("problem", "stars"), Scope.user_state, ("ann", COURSE, BLOCK)),
        (BLOCK, SUMMARY, (None, COURSE, BLOCK)),
        (AsideUsageKeyV2(BLOCK, "notes"), Scope.user_state, ("ann", COURSE, AsideUsageKeyV2(BLOCK, "notes"))),
        ("poll", Scope.preferences, ("ann", None, "poll")),
        (None, Scope.user_info, ("ann", None, None)),
    ],
    ids=str,
)
def test_a_policy_is_asked_by_canonical_keys(
    client: XBlockUserStateClient, key: UsageKey | None, scope: Scope, asked: tuple[Any, ...]
) -> None:
    policy = Asked()
    acting(client, "bob", policy).set("ann", key, {"a": 1}, scope)
    assert [question[2:] for question in policy.questions] == [asked]


def test_one_refused_block_refuses_the_call(client: XBlockUserStateClient) -> None:
    other = make_block("other")
    of_bob = acting(client, "bob", Asked(lambda question: question.block_key != other))
    with pytest.raises(PermissionDenied, match="other"):
        of_bob.set_many("ann", {BLOCK: {"a": 1}, other: {"a": 1}})
    assert list(client.get_many("ann", [BLOCK, other])) == []


def test_a_policy_may_give_its_reason(client: XBlockUserStateClient, refused: Callable[..., str]) -> None:
    def closed(question: Question) -> bool:
        raise PermissionDenied("the course is closed")

    text = refused(OF_A_LEARNER["set"], "ann", Asked(closed))
    assert text == f"'bob' may not change the state of 'ann' in {BLOCK}, {COURSE}: the course is closed"
    with pytest.raises(DoesNotExist):
        client.get("ann", BLOCK)


def test_the_history_names_the_client_s_user(client: XBlockUserStateClient) -> None:
    acting(client, "bob", None).set("ann", BLOCK, {"a": 1})
    acting(client, None, None).set("ann", BLOCK, {"a": 2})
    assert [entry.actor for entry in client.get_history("ann", BLOCK)] == [None, "bob"]


def test_a_policy_that_raises_refuses(client: XBlockUserStateClient) -> None:
    def broken(_question: object) -> bool:
        raise LookupError("no roles")

    with pytest.raises(LookupError):
        acting(client, "bob", Asked(broken)).set("ann", BLOCK, {"a": 1})
    assert list(client.get_many("ann", [BLOCK])) == []


def test_a_function_is_no_policy(client: XBlockUserStateClient) -> None:
    no_policy: Any = refuse
    with pytest.raises(TypeError, match="policy must have a method may"):
        acting(client, "bob", no_policy)
