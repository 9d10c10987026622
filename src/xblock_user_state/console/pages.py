"""Guards and renders pages, inside the host's base template."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any
from urllib.parse import urlencode

from django.apps import apps
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.utils.cache import patch_cache_control
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.http import require_http_methods

from xblock_user_state import conf
from xblock_user_state.access import Action
from xblock_user_state.console.access import allows, may_operate
from xblock_user_state.interface import Conflict, ServiceUnavailable

View = Callable[..., HttpResponseBase]


def staff_page(view: View) -> View:
    """Send anonymous users to the login page, and keep pages out of shared and browsers' caches.

    A store that can't be reached is a page with the status 503, a learner who is always faster one with 409.
    """

    @wraps(view)
    def guarded(request: HttpRequest, **arguments: Any) -> HttpResponseBase:
        try:
            response: HttpResponseBase = view(request, **arguments)
        except ServiceUnavailable:
            response = page(request, "unavailable", {}, status=503)
        except Conflict:
            response = page(request, "busy", {}, status=409)
        patch_cache_control(response, private=True, no_store=True)
        return response

    found: View = login_required(guarded)
    return found


def acting_page(view: View) -> View:
    """Guard a page that acts after a POST. Hosts may lack Django's middleware against forged requests."""
    found: View = csrf_protect(require_http_methods(["GET", "HEAD", "POST"])(staff_page(view)))
    return found


def page(request: HttpRequest, name: str, context: Mapping[str, Any], status: int = 200) -> HttpResponse:
    """Return the page of a template of the console."""
    frame = {
        "console_base": conf.value("CONSOLE_BASE_TEMPLATE"),
        # With JavaScript, htmx replaces the part of a page that changes; without it, pages are loaded as a whole.
        "has_htmx": apps.is_installed("django_htmx"),
        "may_operate": may_operate(request.user),
        "may_see_log": allows(request, Action.REPORT),
    }
    return render(request, f"xblock_user_state_console/{name}.html", {**frame, **context}, status=status)


def query(**values: Any) -> str:
    """Return the query string of the values that are set."""
    return f"?{urlencode({name: value for name, value in values.items() if value not in (None, '')})}"


def text_of(request: HttpRequest, name: str) -> str:
    """Return a parameter of the query, without the NUL that PostgreSQL refuses."""
    return str(request.GET.get(name, "")).replace("\0", "").strip()


def number_of(request: HttpRequest, name: str) -> int | None:
    """Return a parameter of the query as a number from 1 on; ``None`` if it is none."""
    text = text_of(request, name)
    # Longer ones are out of the range of a column.
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 and int(text) else None
