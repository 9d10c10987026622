"""Callers of the service: users of tokens, users of sessions, and nobody else."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpRequest
from django.middleware.csrf import get_token
from django.test import RequestFactory
from pytest_django import Settings

from tests.factories import COURSE, make_block, make_learners
from tests.service_keys import SETTINGS, made_token
from xblock_user_state.access import Action
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.interface import PermissionDenied
from xblock_user_state.permissions import site_policy
from xblock_user_state.service.callers import Caller, NotAuthenticated, caller_of
from xblock_user_state.service.throttling import TooManyRequests
from xblock_user_state.service.tokens import issue_token

pytestmark = pytest.mark.django_db

MOON = make_block("moon")


@pytest.fixture(autouse=True)
def ada(settings: Settings) -> User:
    settings.XBLOCK_USER_STATE = dict(SETTINGS)
    return make_learners("ada")[0]


def post(token: str | None = None, scheme: str = "Bearer", **meta: Any) -> HttpRequest:
    if token is not None:
        meta["HTTP_AUTHORIZATION"] = f"{scheme} {token}"
    request = RequestFactory().post("/", b"{}", content_type="application/json", **meta)
    request.user = AnonymousUser()
    return request


def of_session(user: User, **meta: Any) -> HttpRequest:
    request = post(**meta)
    request.user = user
    return request


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
def test_a_token_acts_for_its_user_within_its_grants(ada: User, scheme: str) -> None:
    token = issue_token("ada", ada.pk, ["state:read", f"course:{COURSE}"], days=1)
    actor, policy, _ = caller_of(post(token, scheme))
    assert actor == ada
    assert policy.may(actor, Action.READ, "ada", COURSE, MOON)
    with pytest.raises(PermissionDenied, match="lacks the scope 'state:write'"):
        policy.may(actor, Action.WRITE, "ada", COURSE, MOON)
    # The site's policy refuses it.
    assert not policy.may(actor, Action.READ, "ben", COURSE, MOON)


def test_history_names_the_user_of_a_token(ada: User) -> None:
    actor, policy, _ = caller_of(post(made_token(scope="state:write history:read")))
    client = DjangoXBlockUserStateClient(actor, policy)
    client.set("ada", MOON, {"answer": "B"})
    assert [entry.actor for entry in client.get_history("ada", MOON)] == ["ada"]


def test_a_user_who_was_deactivated_is_out(ada: User) -> None:
    User.objects.update(is_active=False)
    with pytest.raises(NotAuthenticated, match="active account"):
        caller_of(post(made_token()))


@pytest.mark.parametrize("name", ["Ada", "ada ", "grace", ""])
def test_a_token_of_nobody_is_refused(name: str) -> None:
    with pytest.raises(NotAuthenticated):
        caller_of(post(made_token(sub=name)))


def test_a_name_that_was_given_to_another_user_is_no_key(ada: User) -> None:
    token = issue_token("ada", ada.pk, ["state:read"], days=1)
    User.objects.update(username="ada-of-before")
    make_learners("ada")
    with pytest.raises(NotAuthenticated, match="active account"):
        caller_of(post(token))


@pytest.mark.parametrize("request_", [post(), post("secret", "Basic"), post("", "Bearer")])
def test_without_credentials_nobody_calls(request_: HttpRequest) -> None:
    with pytest.raises(NotAuthenticated):
        caller_of(request_)


def test_a_session_reads_without_and_writes_with_a_csrf_token(ada: User) -> None:
    reads = RequestFactory().get("/")
    reads.user = ada
    assert caller_of(reads).actor == ada
    with pytest.raises(NotAuthenticated, match="CSRF"):
        caller_of(of_session(ada))
    secret = get_token(reads)
    request = of_session(ada, HTTP_X_CSRFTOKEN=secret)
    request.COOKIES["csrftoken"] = reads.META["CSRF_COOKIE"]
    actor, policy, _ = caller_of(request)
    assert (actor, policy.may(ada, Action.WRITE, "ada", COURSE, MOON)) == (ada, True)


def test_a_token_that_is_not_valid_does_not_fall_back_on_the_session(ada: User) -> None:
    request = of_session(ada, HTTP_AUTHORIZATION=f"Bearer {made_token(aud='another')}")
    with pytest.raises(NotAuthenticated, match="audience"):
        caller_of(request)


def by_header(request: HttpRequest) -> Caller | None:
    """Authenticate as another server's proxy would."""
    name = request.headers.get("X-Learner")
    return None if name is None else Caller(User.objects.get(username=name), site_policy())


def test_a_host_may_have_an_authenticator_of_its_own(settings: Settings, ada: User) -> None:
    settings.XBLOCK_USER_STATE = {"SERVICE_AUTHENTICATORS": [f"{__name__}.by_header"]}
    assert caller_of(post(HTTP_X_LEARNER="ada")).actor == ada
    with pytest.raises(NotAuthenticated):
        caller_of(post(made_token()))


def test_each_token_has_an_allowance_of_its_own(settings: Settings, ada: User) -> None:
    settings.XBLOCK_USER_STATE = {**SETTINGS, "SERVICE_THROTTLE": "2/d"}
    first, second = (issue_token("ada", ada.pk, ["state:read"], days=1) for _ in range(2))
    for token in (first, first, second):
        caller_of(post(token))
    with pytest.raises(TooManyRequests):
        caller_of(post(first))
