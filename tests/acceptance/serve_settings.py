"""Settings of ``make serve`` for tests: a request waits where its caller is found, until a file lets it go on."""

from __future__ import annotations

import time
from pathlib import Path

from django.http import HttpRequest

from demo.service_site.settings import *  # noqa: F403
from demo.service_site.settings import XBLOCK_USER_STATE
from demo.settings import VAR

BEGUN, GO_ON = VAR / "begun", VAR / "go-on"
XBLOCK_USER_STATE = {**XBLOCK_USER_STATE, "SERVICE_AUTHENTICATORS": ["tests.acceptance.serve_settings.slow_token"]}


def slow_token(request: HttpRequest) -> object:
    """Authenticate by a token, and take the time that the test wants."""
    # It needs the models.
    from xblock_user_state.service.authenticating import token  # noqa: PLC0415

    BEGUN.touch()
    while not Path(GO_ON).exists():
        time.sleep(0.02)
    return token(request)
