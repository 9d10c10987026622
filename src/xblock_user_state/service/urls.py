"""URLs of the service: ``path("state/", include("xblock_user_state.service.urls"))``."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path, re_path

from xblock_user_state.service import health, problems
from xblock_user_state.service.access_log import logged
from xblock_user_state.service.api import NAMESPACE, api
from xblock_user_state.service.exchange import framed


def _unknown(request: HttpRequest, rest: str) -> HttpResponse:
    return problems.as_answer(problems.unknown_path(rest))


app_name = NAMESPACE

urlpatterns = [
    *(
        URLPattern(found.pattern, logged(framed(found.callback), str(found.pattern)), found.default_args, found.name)
        for found in api.urls[0]
        if isinstance(found, URLPattern)
    ),
    path("health/live", health.live, name="live"),
    path("health/ready", health.ready, name="ready"),
    # All other paths below the mount are the service's, too.
    re_path("^(?P<rest>.*)$", logged(framed(_unknown), "unknown")),
]
