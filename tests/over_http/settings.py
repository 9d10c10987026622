"""Settings of a process that serves the run's databases."""

from __future__ import annotations

import os

from tests import settings as of_tests
from tests.settings import *  # noqa: F403

ALLOWED_HOSTS = ["*"]
XBLOCK_USER_STATE = {
    **of_tests.XBLOCK_USER_STATE,
    # The published tests of the contract name the type of their blocks so.
    "RECORDED_BLOCK_TYPES": ["problem", "block_type"],
    "SERVICE_PUBLIC_KEYS": {"first": os.environ["SERVICE_PUBLIC_KEY"]},
}
