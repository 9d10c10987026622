"""The settings of the platform's tests, with the stage of the environment. The platform has loaded our plugin."""

from __future__ import annotations

import os

from lms.envs.test import *  # noqa: F403

XBLOCK_USER_STATE = {"OPENEDX_STAGE": os.environ["OPENEDX_STAGE"]}
