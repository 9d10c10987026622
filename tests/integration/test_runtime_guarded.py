"""Guarded units of work against concurrent requests: no vote is lost (law 11)."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, connections
from opaque_keys.edx.keys import UsageKey
from xblock.fields import Scope

from tests.blocks import PageRuntime, make_page
from tests.factories import make_learners
from tests.integration.interference import needs_a_server, on_another_connection
from tests.integration.rows import assert_history_is_gapless
from tests.integration.statements import captured
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.interface import Conflict, UserDoesNotExist, XBlockUserStateClient
from xblock_user_state.models import StudentModule
from xblock_user_state.runtime import UserStateKeyValueStore, run_guarded

pytestmark = pytest.mark.django_db(transaction=True)

VOTERS = 12
IDS, [POLL, QUIZ] = make_page("poll", "quiz")


def _handle(user: User, answer: str, block: UsageKey = POLL) -> None:
    """Let a block handle an answer, as a host's handler does."""
    kvs = UserStateKeyValueStore(DjangoXBlockUserStateClient(user), user)
    with kvs.unit_of_work(guarded=True):
        PageRuntime(kvs, user, IDS).submit(block, answer)


def _votes() -> Any:
    state = DjangoXBlockUserStateClient().get(None, POLL, Scope.user_state_summary).state
    assert state is not None
    return state["votes"]


def _at_once(users: list[User], act: Callable[[User], object]) -> None:
    """Run `act` for all users at the same moment, each on a connection of its own."""
    begin = Barrier(len(users))

    def run(user: User) -> None:
        begin.wait(30)
        try:
            act(user)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(users)) as threads:
        list(threads.map(run, users))


@pytest.mark.parametrize("exists", [True, False], ids=["stored", "absent"])
def test_concurrent_votes_of_many_learners_are_all_counted(exists: bool) -> None:
    users = make_learners(*[f"voter{number}" for number in range(VOTERS)])
    if exists:
        DjangoXBlockUserStateClient().set(None, POLL, {"votes": {"red": 5}}, Scope.user_state_summary)
    # Each failed attempt means that another voter was counted.
    _at_once(users, lambda user: run_guarded(lambda: _handle(user, "red"), VOTERS))
    assert _votes() == {"red": VOTERS + 5 * exists}
    assert StudentModule.objects.count() == VOTERS


def test_concurrent_submits_of_one_learner_are_all_counted() -> None:
    [ada] = make_learners("ada")
    _at_once([ada] * 6, lambda user: run_guarded(lambda: _handle(user, "red", QUIZ), 6))
    state = DjangoXBlockUserStateClient(ada).get("ada", QUIZ).state
    assert state == {"attempts": 6, "answers": {"1": "red"}}
    assert_history_is_gapless()


def test_the_second_attempt_makes_other_voters_wait() -> None:
    ada, ben, cleo = make_learners("ada", "ben", "cleo")
    run_guarded(lambda: _handle(cleo, "blue"))
    attempts = []

    def work() -> None:
        attempts.append(connection.in_atomic_block)
        kvs = UserStateKeyValueStore(DjangoXBlockUserStateClient(ada), ada)
        with kvs.unit_of_work(guarded=True):
            PageRuntime(kvs, ada, IDS).submit(POLL, "red")
            if len(attempts) == 1:
                on_another_connection(lambda: _handle(ben, "red"))

    run_guarded(work)
    assert attempts == [False, True]
    assert _votes() == {"blue": 1, "red": 2}


def test_a_failure_in_the_second_attempt_commits_nothing() -> None:
    ada, ben, cleo = make_learners("ada", "ben", "cleo")
    run_guarded(lambda: _handle(cleo, "blue"))
    attempts = []

    def work() -> None:
        attempts.append(1)
        kvs = UserStateKeyValueStore(DjangoXBlockUserStateClient(ada), ada)
        with kvs.unit_of_work(guarded=True):
            PageRuntime(kvs, ada, IDS).submit(POLL, "red")
            if len(attempts) == 1:
                on_another_connection(lambda: _handle(ben, "red"))
        if len(attempts) == 2:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_guarded(work)
    assert _votes() == {"blue": 1, "red": 1}
    assert not StudentModule.objects.filter(student=ada).exists()


def test_a_unit_without_a_conflict_sends_the_statements_of_an_unguarded_one() -> None:
    ada, ben = make_learners("ada", "ben")
    _handle(ben, "red")
    _handle(ada, "blue")
    with captured() as guarded:
        run_guarded(lambda: _handle(ada, "red"))
    kvs = UserStateKeyValueStore(DjangoXBlockUserStateClient(ada), ada)
    with captured() as unguarded, kvs.unit_of_work():
        PageRuntime(kvs, ada, IDS).submit(POLL, "blue")
    assert len(guarded) == len(unguarded)


@needs_a_server
def test_a_deadlock_of_two_locks_is_a_conflict_of_one_of_them() -> None:
    [ada] = make_learners("ada")
    blocks = [POLL, QUIZ]
    DjangoXBlockUserStateClient().set_many("ada", {block: {"a": 1} for block in blocks})
    both_hold_one = Barrier(2)

    def lock(order: list[UsageKey]) -> str:
        client, [first, second] = DjangoXBlockUserStateClient(ada), order
        try:
            with client.locked("ada", {Scope.user_state: [first]}):
                both_hold_one.wait(30)
                with client.locked("ada", {Scope.user_state: [second]}):
                    return "both locks"
        except Conflict:
            return "conflict"
        finally:
            connections.close_all()

    with ThreadPoolExecutor(2) as threads:
        assert sorted(threads.map(lock, [blocks, blocks[::-1]])) == ["both locks", "conflict"]


def test_a_lock_is_one_statement_a_scope() -> None:
    [ada] = make_learners("ada")
    client: XBlockUserStateClient = DjangoXBlockUserStateClient(ada)
    keys: dict[Scope, list[Any]] = {
        Scope.user_state: [POLL, QUIZ],
        Scope.user_state_summary: [POLL],
        Scope.preferences: ["poll"],
    }
    with captured() as statements, client.locked("ada", keys):
        pass
    # As the reference documents it: two for the transaction.
    assert len(statements) == 2 + (len(keys) if connection.features.has_select_for_update else 1)
    with pytest.raises(UserDoesNotExist), client.locked("nobody", keys):
        pass
