"""`unit_of_work`: all saves of one request are one commit, or none."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import AnonymousUser
from webob import Request, Response
from xblock.fields import Scope
from xblock.runtime import KeyValueStore

from tests.blocks import PageRuntime, make_page
from tests.counting import CountingClient
from tests.factories import ADA, make_block
from xblock_user_state.interface import PermissionDenied, ServiceUnavailable
from xblock_user_state.runtime import UserStateKeyValueStore

BLOCK = make_block()
OTHER = make_block("moon")


def key(name: str, scope: Scope = Scope.user_state, block: object = BLOCK) -> KeyValueStore.Key:
    owner = {Scope.preferences: "problem", Scope.user_info: None}.get(scope, block)
    return KeyValueStore.Key(scope, None if scope == Scope.user_state_summary else ADA.id, owner, name, "xblock.v1")


@pytest.fixture
def client() -> CountingClient:
    """A client with a state of ada."""
    client = CountingClient()
    client.set("ada", BLOCK, {"a": 1, "b": 1})
    return client


def test_all_saves_are_one_commit_one_revision_and_one_history_entry(
    client: CountingClient, kvs: UserStateKeyValueStore
) -> None:
    with kvs.unit_of_work():
        kvs.set_many({key("a"): 2, key("c"): 2})
        kvs.delete(key("b"))
        kvs.set(key("c"), 3)
        kvs.set_many({key("d", block=OTHER): 1, key("e", Scope.user_info): 1, key("f", Scope.preferences): 1})
        assert client.commits == 0
    assert client.commits == 1
    assert client.get("ada", BLOCK).state == {"a": 2, "c": 3}
    assert client.get("ada", OTHER).state == {"d": 1}
    assert client.get("ada", None, Scope.user_info).state == {"e": 1}
    assert client.get("ada", "problem", Scope.preferences).state == {"f": 1}
    assert [entry.revision for entry in client.get_history("ada", BLOCK)] == [2, 1]


def test_an_answer_and_its_score_are_one_history_entry(client: CountingClient) -> None:
    ids, [quiz] = make_page("quiz")
    kvs = UserStateKeyValueStore(client, ADA)
    with kvs.unit_of_work():
        PageRuntime(kvs, ADA, ids).submit(quiz, "red")
    [entry] = client.get_history("ada", quiz)
    assert entry.state == {"attempts": 1, "answers": {"1": "red"}}
    assert entry.score is not None
    assert entry.score[:2] == (1, 2)


def test_reads_see_what_was_collected(kvs: UserStateKeyValueStore) -> None:
    with kvs.unit_of_work():
        kvs.set(key("a"), [2])
        kvs.get(key("a")).append(3)
        kvs.delete(key("b"))
        assert kvs.get(key("a")) == [2]
        assert not kvs.has(key("b"))
        with pytest.raises(KeyError):
            kvs.delete(key("b"))
        kvs.set(key("b"), 5)
        assert kvs.get(key("b")) == 5
    assert (kvs.get(key("a")), kvs.get(key("b"))) == ([2], 5)


def test_what_was_set_and_then_deleted_is_gone(client: CountingClient, kvs: UserStateKeyValueStore) -> None:
    with kvs.unit_of_work():
        kvs.set(key("a"), 2)
        kvs.delete(key("a"))
    assert not kvs.has(key("a"))
    assert client.get("ada", BLOCK).state == {"b": 1}


def interrupted(kvs: UserStateKeyValueStore, *names: str) -> None:
    """Save fields and a score in a unit of work that then raises."""
    ids, [quiz] = make_page("quiz")
    with kvs.unit_of_work():
        for name in names:
            kvs.set(key(name), 3)
        kvs.publish(PageRuntime(kvs, ADA, ids).get_block(quiz), "grade", {"value": 1, "max_value": 1})
        raise ZeroDivisionError


def test_an_exception_keeps_none_and_forgets_all(client: CountingClient, kvs: UserStateKeyValueStore) -> None:
    with pytest.raises(ZeroDivisionError):
        interrupted(kvs, "a", "c")
    assert (kvs.get(key("a")), kvs.has(key("c"))) == (1, False)
    kvs.set(key("d"), 4)
    assert client.get("ada", BLOCK).state == {"a": 1, "b": 1, "d": 4}
    assert client.get_scores("ada", make_page("quiz")[1]) == {}
    assert client.commits == 1


def test_a_commit_that_fails_keeps_none_and_forgets_all(client: CountingClient, kvs: UserStateKeyValueStore) -> None:
    kvs.get(key("a"))
    client.is_down = True
    with pytest.raises(ServiceUnavailable), kvs.unit_of_work():
        kvs.set_many({key("a"): 2})
    client.is_down = False
    assert kvs.get(key("a")) == 1
    kvs.set(key("b"), 2)
    assert client.get("ada", BLOCK).state == {"a": 1, "b": 2}


def test_a_value_that_is_not_json_collects_nothing_of_its_save(
    client: CountingClient, kvs: UserStateKeyValueStore
) -> None:
    with kvs.unit_of_work():
        with pytest.raises(TypeError):
            kvs.set_many({key("a"): 2, key("c", block=OTHER): object()})
        kvs.set(key("b"), 2)
    assert client.get("ada", BLOCK).state == {"a": 1, "b": 2}


def test_a_unit_inside_joins_the_outer(client: CountingClient, kvs: UserStateKeyValueStore) -> None:
    with kvs.unit_of_work():
        kvs.set(key("a"), 2)
        with kvs.unit_of_work():
            kvs.set(key("b"), 2)
        assert client.commits == 0
        kvs.set(key("c"), 2)
    assert client.commits == 1
    assert client.get("ada", BLOCK).state == {"a": 2, "b": 2, "c": 2}


def test_a_unit_inside_that_fails_takes_back_its_own_part(client: CountingClient, kvs: UserStateKeyValueStore) -> None:
    with kvs.unit_of_work():
        kvs.set(key("a"), 2)
        with pytest.raises(ZeroDivisionError):
            interrupted(kvs, "a", "b")
        assert (kvs.get(key("a")), kvs.get(key("b"))) == (2, 1)
    assert client.get("ada", BLOCK).state == {"a": 2, "b": 1}


def test_an_exception_outside_takes_back_what_units_inside_have_done(
    client: CountingClient, kvs: UserStateKeyValueStore
) -> None:
    def work() -> None:
        with kvs.unit_of_work():
            with kvs.unit_of_work():
                kvs.set(key("a"), 3)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert kvs.get(key("a")) == 1
    assert client.commits == 0


def test_a_unit_in_which_nothing_is_saved_commits_nothing(client: CountingClient, kvs: UserStateKeyValueStore) -> None:
    with kvs.unit_of_work():
        kvs.get(key("a"))
    assert client.commits == 0


def test_an_anonymous_visitor_is_told_at_the_end(client: CountingClient) -> None:
    kvs = UserStateKeyValueStore(client, AnonymousUser())
    state = key("a")._replace(user_id=None)
    with pytest.raises(PermissionDenied), kvs.unit_of_work():
        kvs.set(state, 1)
    assert not kvs.has(state)


def write_too_much(kvs: UserStateKeyValueStore) -> Response:
    ids, [notebook] = make_page("notebook")
    runtime = PageRuntime(kvs, ADA, ids)
    request = Request.blank("/", method="POST", body=b'"too much"')
    return runtime.handle(runtime.get_block(notebook), "write_too_much", request, "page0")


def test_a_refusal_that_a_handler_answers_with_is_no_exception(
    client: CountingClient, kvs: UserStateKeyValueStore
) -> None:
    _, [notebook] = make_page("notebook")
    with kvs.unit_of_work():
        assert write_too_much(kvs).status_int == 400
    assert client.get("ada", notebook).state == {"page0": "too much"}


class RefusedError(Exception):
    """A host's own."""


def handle_strictly(kvs: UserStateKeyValueStore) -> None:
    """Be a host that takes a response with an error status for an exception."""
    with kvs.unit_of_work():
        if write_too_much(kvs).status_int >= 400:
            raise RefusedError


def test_a_host_may_discard_the_changes_of_a_refusal(client: CountingClient, kvs: UserStateKeyValueStore) -> None:
    before = client.commits
    with pytest.raises(RefusedError):
        handle_strictly(kvs)
    assert client.commits == before
