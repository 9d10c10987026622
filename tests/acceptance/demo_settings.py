"""The demo's settings for tests: the same, with a cheap password hash."""

from __future__ import annotations

from demo.settings import *  # noqa: F403
from demo.settings import XBLOCK_USER_STATE
from tests import settings

# Visitors log in dozens of times; a strong hash takes half a second each time.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
XBLOCK_USER_STATE = {**XBLOCK_USER_STATE, **settings.XBLOCK_USER_STATE}
