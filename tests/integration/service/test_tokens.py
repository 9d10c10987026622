"""A token reaches the rows that it grants at each endpoint, and no others."""

from __future__ import annotations

import hmac
import json
import logging
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import urlencode

import jwt
import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from jwt.utils import base64url_encode
from pytest_django import Settings
from xblock.fields import Scope

from tests.documentation import DOCS
from tests.factories import COURSE, make_block
from tests.integration.interference import kill_connection, needs_a_server
from tests.integration.service.conftest import content_of, problem_in
from tests.service_keys import FIRST, SECOND, SETTINGS, claims, made_token
from xblock_user_state import wire
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.models import StudentModule
from xblock_user_state.service import urls
from xblock_user_state.service.grants import ACTIONS
from xblock_user_state.state.keys import row_key

pytestmark = pytest.mark.django_db

MOON = make_block("moon")
OTHER_COURSE = "course-v1:Sky+Other+2026"
ALL = " ".join(ACTIONS)
ROW = wire.Address.of_key(Scope.user_state, MOON)

Send = Callable[..., Any]


class Endpoint(NamedTuple):
    """A method of a path, the scope that it needs, and a request of it about ann."""

    method: str
    path: str
    scope: str
    request: Callable[[str, str], Any]
    """Returns the message about a learner and a usage key; for a resource its new state."""


def change(learner: str, key: str) -> wire.Write:
    address = wire.RowChange(key=key, edits=[wire.SetFields(wire.pack_json('{"answer": "C"}'))])
    return wire.Write(learner=learner, changes=[address])


def export(learner: str) -> wire.ExportHistory:
    return wire.ExportHistory(learner=learner, course=str(COURSE))


def row(key: str) -> wire.Address:
    return wire.Address(key=key)


ENDPOINTS = [
    Endpoint("get", "state", "state:read", lambda learner, key: None),
    Endpoint("put", "state", "state:write", lambda learner, key: {"answer": "C"}),
    Endpoint("patch", "state", "state:write", lambda learner, key: {"answer": "C"}),
    Endpoint("delete", "state", "state:write", lambda learner, key: None),
    Endpoint("post", "rows", "state:read", lambda learner, key: wire.ReadRows(learner=learner, rows=[row(key)])),
    Endpoint("post", "scores", "state:read", lambda learner, key: wire.ReadScores(learner=learner, rows=[row(key)])),
    Endpoint("post", "history", "history:read", lambda learner, key: wire.ReadHistory(learner=learner, row=row(key))),
    Endpoint("post", "latest", "state:read", lambda learner, key: wire.ReadLatest(learner=learner, course=str(COURSE))),
    Endpoint("post", "blocks", "report:read", lambda learner, key: wire.FindBlocks(key=key)),
    Endpoint("post", "write", "state:write", change),
    Endpoint("post", "iterate/block", "report:read", lambda learner, key: wire.IterateBlock(row=row(key))),
    Endpoint("post", "export/history", "history:read", lambda learner, key: export(learner)),
    Endpoint("post", "iterate/course", "report:read", lambda learner, key: wire.IterateCourse(course=str(COURSE))),
]
OF_LEARNERS = [one for one in ENDPOINTS if one.scope != "report:read"]


def name_of(endpoint: Endpoint) -> str:
    return f"{endpoint.method} {endpoint.path}"


each_endpoint = pytest.mark.parametrize("endpoint", ENDPOINTS, ids=name_of)


def send(endpoint: Endpoint, token: str | None, learner: str = "ann", key: str = str(MOON)) -> Any:
    message, query = endpoint.request(learner, key), ""
    if endpoint.path == "state":
        query = "?" + urlencode({"learner": learner, "key": key})
    body = b"" if message is None else wire.encode(message)
    headers = None if token is None else {"Authorization": f"Bearer {token}"}
    return Client(raise_request_exception=False).generic(
        endpoint.method.upper(), f"/state/v1/{endpoint.path}{query}", body, content_type=wire.JSON, headers=headers
    )


def signed_by_text(secret: str, payload: dict[str, Any]) -> str:
    """Return a token with an HMAC. PyJWT refuses to make one with a public key."""
    parts = [{"alg": "HS256", "typ": "JWT", "kid": "first"}, payload]
    text = b".".join(base64url_encode(json.dumps(part).encode()) for part in parts)
    return b".".join([text, base64url_encode(hmac.digest(secret.encode(), text, "sha256"))]).decode()


def of_host(scope: str) -> str:
    return made_token(sub="host", scope=scope)


def text_of(refused: Any) -> str:
    problem = problem_in(refused)
    assert (problem.status, problem.code) == (403, "PermissionDenied")
    return str(problem.detail)


@pytest.fixture(autouse=True)
def state(settings: Settings, ann: User) -> None:
    """A state of ann's, and an account that may do everything."""
    settings.XBLOCK_USER_STATE = dict(SETTINGS)
    User.objects.create(username="host", is_superuser=True)
    DjangoXBlockUserStateClient().set("ann", MOON, {"answer": "B"})


@contextmanager
def nothing_changes() -> Iterator[None]:
    before = list(StudentModule.objects.order_by("pk").values())
    yield
    assert list(StudentModule.objects.order_by("pk").values()) == before


def test_all_endpoints_are_here() -> None:
    described = json.loads((DOCS / "reference/openapi.json").read_text())["paths"]
    assert {(method, path) for path, methods in described.items() for method in methods} == {
        (endpoint.method, f"/v1/{endpoint.path}") for endpoint in ENDPOINTS
    }
    # Nor is there a path that the description lacks.
    of_nobody = {"", "v1/openapi.json", "health/live", "health/ready", "^(?P<rest>.*)$"}
    paths = [str(pattern.pattern) for pattern in urls.urlpatterns]
    assert set(paths) - of_nobody == {f"v1/{endpoint.path}" for endpoint in ENDPOINTS}


def test_paths_of_nobody_tell_of_nobody() -> None:
    for path in ("", "v1/openapi.json", "health/live", "health/ready", "anything"):
        with CaptureQueriesContext(connection) as captured:
            answer = Client().get(f"/state/{path}")
        assert not {"ann", "moon"} & set(re.findall(r"\w+", content_of(answer).decode()))
        assert not [each for each in captured if StudentModule._meta.db_table in each["sql"]]


@each_endpoint
def test_nobody_comes_in_without_a_valid_token(endpoint: Endpoint) -> None:
    header, _, signature = of_host(ALL).rpartition(".")
    unsigned = jwt.encode(claims(sub="host", scope=ALL), "", algorithm="none", headers={"kid": "first"})
    tokens = (
        None,
        "",
        made_token(sub="host", scope=ALL, exp=int(time.time()) - 60),
        made_token(sub="host", scope=ALL, aud="another"),
        made_token(SECOND.private, sub="host", scope=ALL),
        f"{header}.{signature[::-1]}",
        f"{header}.",
        unsigned,
        # The public key, which everybody may have, in the place of a secret.
        signed_by_text(FIRST.public, claims(sub="host", scope=ALL)),
    )
    with nothing_changes():
        for token in tokens:
            response = send(endpoint, token)
            assert (problem_in(response).code, response["WWW-Authenticate"]) == ("Unauthorized", "Bearer"), token


@each_endpoint
def test_a_token_needs_the_scope_of_the_endpoint(endpoint: Endpoint) -> None:
    with nothing_changes():
        text = text_of(send(endpoint, of_host(" ".join(scope for scope in ACTIONS if scope != endpoint.scope))))
    assert text.endswith(f": the token lacks the scope '{endpoint.scope}'")
    assert send(endpoint, of_host(endpoint.scope)).status_code == 200


@each_endpoint
def test_a_token_of_one_course_reaches_no_other(endpoint: Endpoint) -> None:
    with nothing_changes():
        text = text_of(send(endpoint, of_host(f"{ALL} course:{OTHER_COURSE}")))
    assert text.endswith(": the token is for other courses or libraries")
    assert send(endpoint, of_host(f"{ALL} course:{OTHER_COURSE} course:{COURSE}")).status_code == 200


@pytest.mark.parametrize("scope", [Scope.preferences, Scope.user_info])
def test_a_token_of_a_course_does_not_reach_what_is_of_no_course(scope: Scope) -> None:
    key = "problem" if scope is Scope.preferences else None
    address = wire.Address.of(scope, row_key(key, scope))
    asks = Endpoint("post", "rows", "state:read", lambda learner, _: wire.ReadRows(learner=learner, rows=[address]))
    text_of(send(asks, of_host(f"{ALL} course:{COURSE}")))
    assert send(asks, of_host(ALL)).status_code == 200


@each_endpoint
def test_a_token_for_own_state_reaches_no_other_learner(endpoint: Endpoint) -> None:
    with nothing_changes():
        text = text_of(send(endpoint, of_host(f"{ALL} own")))
    assert text.endswith(": the token is for its user's own state only")
    if endpoint in OF_LEARNERS:
        assert send(endpoint, made_token(scope=f"{ALL} own", sub="ann")).status_code == 200


@each_endpoint
def test_a_token_does_not_reach_further_than_its_user(endpoint: Endpoint) -> None:
    with nothing_changes():
        assert "token" not in text_of(send(endpoint, made_token(scope=ALL, sub="bob")))


@pytest.mark.parametrize("endpoint", OF_LEARNERS, ids=name_of)
def test_a_refusal_does_not_tell_what_exists(endpoint: Endpoint) -> None:
    token = made_token(scope=ALL, sub="bob")
    texts = {
        text_of(send(endpoint, token, learner, key)).replace(learner, "LEARNER").replace(key, "KEY")
        for learner in ("ann", "nobody")
        for key in (str(MOON), str(make_block("sun")))
    }
    assert len(texts) == 1


@needs_a_server
@pytest.mark.django_db(transaction=True)
def test_a_connection_that_the_database_has_closed_costs_no_request() -> None:
    token = of_host("state:read")
    assert send(ENDPOINTS[0], token).status_code == 200
    kill_connection()
    assert send(ENDPOINTS[0], token).status_code == 200


def fail(*_: Any, **__: Any) -> Any:
    raise RuntimeError("a fault of the service")


def test_no_log_and_no_answer_has_a_token_or_a_state(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    caplog.set_level(logging.DEBUG)
    settings.DEBUG = True
    tokens = [of_host(ALL), of_host("state:read"), of_host("unknown"), of_host(ALL)[:-4]]
    answers = [send(endpoint, token) for endpoint in ENDPOINTS for token in tokens]
    monkeypatch.setattr(DjangoXBlockUserStateClient, "_rows_of_scopes", fail)
    answers += [send(ENDPOINTS[0], token) for token in tokens]
    monkeypatch.setattr("xblock_user_state.service.authenticating._account", fail)
    answers += [send(ENDPOINTS[0], token) for token in tokens]
    assert {answer.status_code for answer in answers} == {200, 401, 403, 500}
    said = [caplog.text, *(f"{answer.headers} {content_of(answer).decode()}" for answer in answers)]
    secrets = [part for token in tokens for part in token.split(".")[1:]]
    assert not [secret for secret in secrets for text in said if secret in text]
    found = [one for one in caplog.records if one.name == "xblock_user_state.service"]
    # A refusal has its error, too, at the level of debugging.
    lines = [one.getMessage() for one in found if one.levelno >= logging.INFO]
    assert len(lines) == len(answers)
    assert "answer" not in "".join(lines)


def test_a_line_of_the_log_says_who_did_what_where(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "xblock_user_state.service")
    send(ENDPOINTS[0], of_host("state:read"))
    (line,) = (one.getMessage() for one in caplog.records if one.name == "xblock_user_state.service")
    assert f" actor='host' act=read context={COURSE} endpoint=v1/state outcome=200 ms=" in line


def test_too_many_requests_are_told_when_to_come_again(settings: Settings) -> None:
    settings.XBLOCK_USER_STATE = {**SETTINGS, "SERVICE_THROTTLE": "1/d"}
    token = made_token(sub="host", scope="state:read", jti="throttled")
    assert send(ENDPOINTS[0], token).status_code == 200
    refused = send(ENDPOINTS[0], token)
    assert (refused.status_code, problem_in(refused).code) == (429, "TooManyRequests")
    assert 0 < int(refused["Retry-After"]) <= 24 * 60 * 60
