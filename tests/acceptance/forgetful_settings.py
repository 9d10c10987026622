"""Settings of a demo that is broken on purpose: see `tests.acceptance.forgetful`."""

from __future__ import annotations

from tests.acceptance.demo_settings import *  # noqa: F403
from tests.acceptance.demo_settings import MIDDLEWARE

MIDDLEWARE = [*MIDDLEWARE, "tests.acceptance.forgetful.in_place_of_the_store"]
