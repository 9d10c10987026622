"""The learner of a request, and the destination of its writes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from django.contrib.auth import get_user_model

from demo.host.clients import account_client
from demo.host.content import get_course
from demo.host.learners import unidentified, visitor, with_account
from demo.host.runtime import LearnerRuntime
from xblock_user_state.hosting import store_for
from xblock_user_state.runtime import clear_masquerade

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.http import HttpRequest

    from demo.host.learners import Learner

# User agents of crawlers, and of services that render a preview of a link.
CRAWLERS = re.compile(r"bot\b|crawl|spider|preview", re.IGNORECASE)

VIEWED_AS = "viewed_as"


def runtime_of(request: HttpRequest) -> LearnerRuntime:
    """Return the runtime of a request, with its learner and the destination of its writes."""
    learner = learner_of(request)
    # When staff view the course as a learner, their writes stay in their session.
    viewed_as = learner.user if learner.user != request.user else None
    store = store_for(
        request.user,
        request.session,
        viewed_as=viewed_as,
        read_only=is_automated(request),
        accounts=account_client,
    )
    return LearnerRuntime(get_course(), learner, store)


def learner_of(request: HttpRequest) -> Learner:
    """Return the learner of a request. For staff who view the course as a learner, it is that learner."""
    user = request.user
    if not user.is_authenticated:
        return unidentified(user) if is_automated(request) else visitor(user, request.session)
    return with_account(_viewed(request) or user)


def _viewed(request: HttpRequest) -> User | None:
    if not request.user.is_staff or VIEWED_AS not in request.session:
        return None
    # The learner may have been deleted in the meantime.
    return get_user_model().objects.filter(pk=request.session[VIEWED_AS]).first()


def view_as(request: HttpRequest, learner: User) -> None:
    """From the next request on, show the course as this learner sees it."""
    request.session[VIEWED_AS] = learner.pk


def stop_viewing(request: HttpRequest) -> None:
    """Show the own course again, and delete the session's changes as other learners."""
    request.session.pop(VIEWED_AS, None)
    clear_masquerade(request.session)


def for_templates(request: HttpRequest) -> dict[str, Any]:
    """Give templates the key of the course, and the learner as whom staff view it, if any."""
    return {"demo_course": get_course().ids.course_key, "viewed_as": _viewed(request)}


def is_automated(request: HttpRequest) -> bool:
    """Tell whether a crawler sent the request, or a browser that loads a page before its user opens it."""
    is_fetched_ahead = "prefetch" in request.headers.get("Sec-Purpose", "")
    return is_fetched_ahead or bool(CRAWLERS.search(request.headers.get("User-Agent", "")))
