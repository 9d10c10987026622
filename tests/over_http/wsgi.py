"""The host of the service as a WSGI application. It dies before an answer, if a test wants it to."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from django.core.wsgi import get_wsgi_application

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.over_http.settings"

_DIES = Path(os.environ["SERVICE_DIES"])
"""While this file exists, the next request is done and gets no answer."""

_serve = get_wsgi_application()


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Answer a request, whose transaction is committed when Django's application returns."""
    answer: Iterable[bytes] = _serve(environ, start_response)
    if _DIES.exists():
        _DIES.unlink()
        os.killpg(0, signal.SIGKILL)
    return answer
