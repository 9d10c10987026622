"""The tests' settings, with the stand-in for the platform."""

from __future__ import annotations

from tests import settings as _settings
from tests.settings import *  # noqa: F403

INSTALLED_APPS = [*_settings.INSTALLED_APPS, "tests.openedx_platform.courseware"]
