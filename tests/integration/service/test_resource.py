"""One state as a resource: entity tags, conditions, and the fields of a body."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.factories import make_block
from tests.integration.service.conftest import Caller, content_of, problem_in
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.models import StudentModule

pytestmark = pytest.mark.django_db

BLOCK = make_block("stars")
WHERE = {"learner": "ann", "key": str(BLOCK)}


def ask(caller: Caller, method: str, body: Any = None, where: Any = None, **headers: str) -> Any:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    text = "" if body is None else json.dumps(body)
    query = {**WHERE, **(where or {})}
    client: Any = caller.client
    return client.generic(method, "/state/v1/state", text, "application/json", headers=sent, query_params=query)


def state() -> Any:
    return DjangoXBlockUserStateClient().get("ann", BLOCK).state


def test_a_state_is_made_read_changed_and_removed(host: Caller) -> None:
    made = ask(host, "PUT", {"a": 1, "b": 2}, If_None_Match="*")
    assert (made.status_code, made["ETag"]) == (200, '"1"')
    found = ask(host, "GET")
    assert (json.loads(content_of(found))["state"], found["ETag"]) == ({"a": 1, "b": 2}, '"1"')
    unchanged = ask(host, "GET", If_None_Match='W/"1"')
    assert unchanged.status_code == 304
    assert not {"Content-Type", "Content-Length"} & set(unchanged.headers)
    assert ask(host, "PATCH", {"b": 3}, If_Match='"1"')["ETag"] == '"2"'
    assert state() == {"a": 1, "b": 3}
    assert ask(host, "DELETE", where={"field": "a"}, If_Match='"2"')["ETag"] == '"3"'
    assert state() == {"b": 3}
    assert ask(host, "DELETE")["ETag"] == '"4"'
    gone = ask(host, "GET")
    assert (problem_in(gone).code, gone["ETag"]) == ("DoesNotExist", '"4"')


def test_a_state_of_another_revision_is_not_written(host: Caller) -> None:
    DjangoXBlockUserStateClient().set("ann", BLOCK, {"a": 1})
    for headers in ({"If_Match": '"7"'}, {"If_None_Match": "*"}):
        response = ask(host, "PUT", {"a": 2}, **headers)
        assert (problem_in(response).code, response["ETag"], problem_in(response).revision) == ("Conflict", '"1"', 1)
    assert state() == {"a": 1}


def test_a_state_that_json_can_not_hold_is_written_and_read_as_text(host: Caller) -> None:
    ask(host, "PUT", '{"raw":NaN}')
    assert json.loads(content_of(ask(host, "GET")))["state"] == '{"raw":NaN}'
    assert str(state()) == "{'raw': nan}"


def test_a_change_of_nothing_leaves_no_row(host: Caller) -> None:
    for response in (ask(host, "PATCH", {}), ask(host, "DELETE")):
        assert response.status_code == 204
        assert not {"Content-Type", "Content-Length"} & set(response.headers)


@pytest.mark.parametrize(
    "headers",
    [{"If_Match": "*"}, {"If_Match": "three"}, {"If_None_Match": '"3"'}, {"If_Match": '"1"', "If_None_Match": "*"}],
)
def test_a_condition_that_is_none_is_refused(host: Caller, headers: dict[str, str]) -> None:
    assert problem_in(ask(host, "PUT", {"a": 1}, **headers)).code == "ValueError"


@pytest.mark.parametrize(
    ("where", "code"),
    [
        ({"key": "no key"}, "ValueError"),
        ({"scope": "settings"}, "ValueError"),
        ({"scope": "user_info"}, "TypeError"),
        ({"learner_id": "no id"}, "ValueError"),
    ],
)
def test_a_place_that_is_none_is_refused(host: Caller, where: dict[str, str], code: str) -> None:
    assert problem_in(ask(host, "GET", where=where)).code == code


@pytest.mark.parametrize("scope", ["user_state", "user_state_summary", "preferences"])
def test_a_missing_key_is_named_as_in_the_message(host: Caller, scope: str) -> None:
    response = host.client.get("/state/v1/state", query_params={"learner": "ann", "scope": scope})
    assert problem_in(response).detail.startswith(f"{scope} needs a key")


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
def test_a_missing_learner_is_not_nobody(learner: Caller, method: str) -> None:
    client: Any = learner.client
    response = client.generic(method, "/state/v1/state", "{}", "application/json", query_params={"key": str(BLOCK)})
    assert (problem_in(response).code, problem_in(response).detail) == (
        "ValueError",
        "the query needs learner, or learner_id",
    )


def test_the_state_that_all_learners_share_needs_no_learner(learner: Caller) -> None:
    client: Any = learner.client
    query = {"key": str(BLOCK), "scope": "user_state_summary"}
    response = client.generic("PUT", "/state/v1/state", '{"votes": 1}', "application/json", query_params=query)
    assert (response.status_code, response["ETag"]) == (200, '"1"')


@pytest.mark.parametrize(
    ("method", "parameters", "detail"),
    [
        (
            "PATCH",
            "scop=preferences",
            "the query has 'scop'; its parameters are learner, learner_id, scope, key, course",
        ),
        ("PUT", "field=a", "the query has 'field'; its parameters are learner, learner_id, scope, key, course"),
        ("GET", "learner=bob", "the query has learner 2 times"),
        ("DELETE", "key=problem", "the query has key 2 times"),
    ],
)
def test_a_query_that_may_mean_another_place_is_refused(
    host: Caller, method: str, parameters: str, detail: str
) -> None:
    client: Any = host.client
    query = f"{urlencode(WHERE)}&{parameters}"
    response = client.generic(method, f"/state/v1/state?{query}", "{}", "application/json")
    assert (problem_in(response).status, problem_in(response).detail) == (400, detail)
    assert not StudentModule.objects.exists()


def test_fields_are_named_by_parameters_of_one_name(host: Caller) -> None:
    client: Any = host.client
    ask(host, "PUT", {"a": 1, "b": 2, "c": 3})
    response = client.delete(f"/state/v1/state?{urlencode(WHERE)}&field=a&field=b")
    assert response.status_code == 200
    assert state() == {"c": 3}


@pytest.mark.parametrize("body", [[1], 5, "{", None])
def test_a_body_that_is_no_state_is_refused(host: Caller, body: Any) -> None:
    assert problem_in(ask(host, "PATCH", body)).status == 400
