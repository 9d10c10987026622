"""The user of a request, who acts, and the end of it, at which its writes are copied to the other store."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from xblock_user_state.openedx.platform.learners import acting_in
from xblock_user_state.openedx.platform.mirror import flushed_at_the_end


class RequestMiddleware:
    """Names the user of the request as the actor, and copies the rows that it has written when it ends."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with acting_in(request), flushed_at_the_end():
            return self._get_response(request)
