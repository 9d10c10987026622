"""The services for hosts that have nothing behind them."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.core.cache import cache
from django.utils.safestring import SafeString
from markupsafe import Markup

from xblock_user_state.runtime import CurrentUserService, plain_services

ADA = User(id=7, username="ada", email="ada@example.com", first_name="Ada", last_name="Lovelace")


def attributes(user: Any, **options: Any) -> dict[str, Any]:
    current = CurrentUserService(user, "a1", **options).get_current_user()
    return {name.removeprefix("edx-platform."): value for name, value in current.opt_attrs.items()}


def test_an_account_has_the_attributes_that_blocks_know() -> None:
    assert attributes(ADA) == {
        "is_authenticated": True,
        "user_id": 7,
        "username": "ada",
        "user_is_staff": False,
        "user_role": "student",
        "anonymous_user_id": "a1",
        "deprecated_anonymous_user_id": "a1",
        "request_country_code": None,
    }
    current = CurrentUserService(ADA).get_current_user()
    assert (current.emails, current.full_name, current.is_current_user) == (["ada@example.com"], "Ada Lovelace", True)


def test_a_visitor_has_neither_name_nor_address() -> None:
    found = attributes(AnonymousUser())
    assert (found["is_authenticated"], found["user_id"], found["username"]) == (False, None, "")
    current = CurrentUserService(AnonymousUser()).get_current_user()
    assert (current.emails, current.full_name) == ([], None)


@pytest.mark.parametrize(("role", "expected"), [("", "staff"), ("instructor", "instructor")])
def test_the_role_follows_the_account_unless_it_is_given(role: str, expected: str) -> None:
    assert attributes(User(username="grace", is_staff=True), role=role)["user_role"] == expected


def test_a_host_adds_and_replaces_attributes() -> None:
    added = {"edx-platform.request_country_code": "DE", "edx-platform.user_id": "u7"}
    found = attributes(ADA, attributes=added)
    assert (found["request_country_code"], found["user_id"], found["username"]) == ("DE", "u7", "ada")


def test_a_user_model_may_have_no_more_than_a_name() -> None:
    class Member:
        pk, is_authenticated = 7, True
        get_username = staticmethod(lambda: "ada")
        get_email_field_name = staticmethod(lambda: "email")

    found = attributes(Member())
    assert (found["username"], found["user_is_staff"]) == ("ada", False)
    current = CurrentUserService(Member()).get_current_user()
    assert (current.emails, current.full_name) == ([], "")


def test_users_are_found_by_their_anonymous_id() -> None:
    ben = User(username="ben")
    service = CurrentUserService(ADA, "a1", user_of={"b2": ben}.get)
    assert service.get_user_by_anonymous_id() is ADA
    assert service.get_user_by_anonymous_id("a1") is ADA
    assert service.get_user_by_anonymous_id("b2") is ben
    assert service.get_user_by_anonymous_id("c3") is None
    assert CurrentUserService(ADA, "a1").get_user_by_anonymous_id("b2") is None
    assert CurrentUserService(AnonymousUser(), "v").get_user_by_anonymous_id() is None


@pytest.mark.parametrize("marked", [Markup, SafeString])
def test_addresses_stay_as_they_are_and_are_not_marked_as_safe(marked: type[str]) -> None:
    urls: Any = plain_services(ADA)["replace_urls"]
    replaced = urls.replace_urls(marked("<img src='/static/moon.png'>"))
    assert replaced == "<img src='/static/moon.png'>"
    assert not hasattr(replaced, "__html__")


def test_scripts_are_refused() -> None:
    services: Any = plain_services(ADA)
    assert services["sandbox"].can_execute_unsafe_code() is False
    assert services["sandbox"].get_python_lib_zip() is None
    assert services["cache"] is cache
