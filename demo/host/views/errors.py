"""The page of an error."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from django.shortcuts import render
from django.views.defaults import server_error

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

log = logging.getLogger(__name__)


def failed(request: HttpRequest) -> HttpResponse:
    """Answer with the page that offers what every page offers, such as the end of viewing as a learner.

    That takes the session and the user. If these can't be read either, the page goes without.
    """
    try:
        return render(request, "500.html", {"has_account": request.user.is_authenticated}, status=500)
    except Exception:
        # Whatever has failed may fail again.
        log.warning("the page of an error is shown without the user", exc_info=True)
        return server_error(request)
