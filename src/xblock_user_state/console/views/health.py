"""The health of the store, as a page for operators and as JSON for load balancers."""

from __future__ import annotations

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache

from xblock_user_state.console.access import may_operate
from xblock_user_state.console.health import as_json, is_alive, read_health
from xblock_user_state.console.pages import page, staff_page


@staff_page
def health(request: HttpRequest) -> HttpResponse:
    """Show the health of the store."""
    if not may_operate(request.user):
        raise PermissionDenied
    return page(request, "health", {"health": read_health()})


@never_cache
def health_json(request: HttpRequest) -> JsonResponse:
    """Tell anyone whether the database of learner state answers: status 200 or 503. Operators get the figures too.

    A history database that is down does not count: learners go on working.
    """
    if not is_alive():
        return JsonResponse({"status": "unavailable"}, status=503)
    # Without a session's cookie this takes no statement.
    figures = as_json(read_health()) if may_operate(request.user) else {}
    return JsonResponse({"status": "ok", **figures})
