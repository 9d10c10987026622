"""Settings of the mutant demo in `tests.acceptance.forgetful`, which is broken on purpose."""

from __future__ import annotations

from tests.acceptance.demo_settings import *  # noqa: F403
from tests.acceptance.demo_settings import MIDDLEWARE

MIDDLEWARE = [*MIDDLEWARE, "tests.acceptance.forgetful.replace_the_store"]
