"""The tests' settings with the user model that the environment names."""

from __future__ import annotations

import os

from tests import settings as _settings
from tests.settings import *  # noqa: F403

INSTALLED_APPS = [*_settings.INSTALLED_APPS, "tests.custom_users"]
AUTH_USER_MODEL = f"custom_users.{os.environ['TEST_USER_MODEL']}"
