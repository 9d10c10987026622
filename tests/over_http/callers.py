"""The caller of the tests: a user of the host who may do everything, by a token for everything."""

from __future__ import annotations

from django.contrib.auth import get_user_model

from tests.service_keys import made_token

NAME = "host"


def make_host() -> str:
    """Make the account of the host, and return its token."""
    get_user_model().objects.create(username=NAME, is_superuser=True)
    return made_token(sub=NAME, scope="state:read state:write history:read report:read")
