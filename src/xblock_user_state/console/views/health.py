"""The health of the store, as a page for operators and as JSON for load balancers."""

from __future__ import annotations

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache

from xblock_user_state.console.access import may_operate
from xblock_user_state.console.health import is_alive, read_health
from xblock_user_state.console.pages import page, staff_page


@staff_page
def health(request: HttpRequest) -> HttpResponse:
    """Show the health of the store."""
    if not may_operate(request.user):
        raise PermissionDenied
    return page(request, "health", {"health": read_health()})


@never_cache
def health_json(request: HttpRequest) -> JsonResponse:
    """Tell anyone whether the database of learner state answers: status 200 or 503, and nothing else.

    A history database that is down does not count: learners go on working.
    """
    alive = is_alive()
    return JsonResponse({"status": "ok" if alive else "unavailable"}, status=200 if alive else 503)
