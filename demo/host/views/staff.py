"""The course as a learner sees it, for staff. The pages about learners are the console's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.auth import get_user_model
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_POST

from demo.host import visits

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpResponse

    from demo.host.views import KnownRequest

    View = Callable[..., HttpResponse]


def for_staff(view: View) -> View:
    """Redirect anonymous users to the login page, and refuse learners."""

    def guarded(request: KnownRequest, **arguments: Any) -> HttpResponse:
        if not request.user.is_staff:
            raise PermissionDenied
        return view(request, **arguments)

    return login_required(guarded)


@require_POST
@for_staff
def view_as(request: KnownRequest, username: str) -> HttpResponse:
    visits.view_as(request, get_object_or_404(get_user_model(), username=username, is_staff=False))
    return redirect("outline")


@require_POST
@for_staff
def stop_viewing(request: KnownRequest) -> HttpResponse:
    # Read the learner first: stop_viewing removes it from the session.
    learner = visits.learner_of(request).user
    visits.stop_viewing(request)
    return redirect("xblock_user_state_console:learner", learner.username)
