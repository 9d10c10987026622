"""The demo's settings for tests with a crowd."""

from __future__ import annotations

from tests.acceptance.demo_settings import *  # noqa: F403
from tests.acceptance.demo_settings import MIDDLEWARE

MIDDLEWARE = [*MIDDLEWARE, "tests.acceptance.crowd_host.enrol", "tests.acceptance.crowd_host.guard_unless_told"]
