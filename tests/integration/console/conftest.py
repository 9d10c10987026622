"""Staff, learners and states for the tests of the console."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from tests.factories import make_learners

Login = Callable[..., Client]


@pytest.fixture
def ann(db: None) -> User:
    return make_learners("ann")[0]


@pytest.fixture
def login(db: None) -> Login:
    """Logs in a new user with these permissions; ``"*"`` makes a superuser."""

    def login(*permissions: str) -> Client:
        user = User.objects.create(username="staff", is_superuser="*" in permissions)
        user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        client = Client()
        client.force_login(user)
        return client

    return login


@pytest.fixture
def staff(login: Login) -> Client:
    return login("view_studentmodule", "view_studentmodulehistory")
