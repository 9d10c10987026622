"""``manage.py issue_token``."""

from __future__ import annotations

from io import StringIO

import jwt
import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.management.base import CommandError
from pytest_django import Settings

from tests.factories import COURSE, make_learners
from tests.service_keys import SETTINGS
from xblock_user_state.access import Action
from xblock_user_state.service.tokens import read_token

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def ada(settings: Settings) -> User:
    settings.XBLOCK_USER_STATE = dict(SETTINGS)
    return make_learners("ada")[0]


def issue(*arguments: str) -> str:
    out = StringIO()
    call_command("issue_token", *arguments, stdout=out)
    return out.getvalue()


def test_it_prints_the_token_alone(ada: User) -> None:
    printed = issue(
        "ada", "--scope", "state:read", "state:write", "--scope", "own", "--course", str(COURSE), "--days", "2"
    )
    token = printed.removesuffix("\n")
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["scope"] == f"state:read state:write own course:{COURSE}"
    assert claims["exp"] - claims["iat"] == 2 * 24 * 60 * 60
    found = read_token(token)
    assert (found.username, found.user_id) == ("ada", str(ada.pk))
    assert found.grants.actions == {Action.READ, Action.WRITE}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["grace", "--scope", "act"], "there is no user 'grace'"),
        (["ada", "--scope", "write"], "'write' is not a scope; known are state:read, "),
        (["ada", "--scope", "act state:read"], "'act state:read' is not a scope"),
        (["ada", "--scope", "act", "--course", "Sky/Old"], "'Sky/Old' is not the key of a course run or library"),
        (["ada", "--scope", "act", "--days", "0"], "--days is 0; it must be 1 or more"),
        (["ada"], "required: --scope"),
    ],
)
def test_a_mistake_has_a_clear_error(arguments: list[str], message: str) -> None:
    with pytest.raises(CommandError, match=message):
        issue(*arguments)


def test_no_token_is_issued_for_a_user_who_is_out() -> None:
    User.objects.update(is_active=False)
    with pytest.raises(CommandError, match="'ada' is not active"):
        issue("ada", "--scope", "act")


def test_without_a_key_it_names_the_setting(settings: Settings) -> None:
    settings.XBLOCK_USER_STATE = {}
    with pytest.raises(CommandError, match="SERVICE_SIGNING_KEY"):
        issue("ada", "--scope", "act")
