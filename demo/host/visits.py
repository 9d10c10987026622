"""Whose state a request shows, and what becomes of what its blocks save."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from django.contrib.auth import get_user_model

from demo.host.content import get_course
from demo.host.learners import nobody, visitor, with_account
from demo.host.runtime import LearnerRuntime
from xblock_user_state.runtime import clear_masquerade

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.http import HttpRequest

    from demo.host.learners import Learner

# What the programs call themselves that read whole sites, or fetch a page to show a picture of it beside a link.
CRAWLERS = re.compile(r"bot\b|crawl|spider|preview", re.IGNORECASE)


VIEWED_AS = "viewed_as"


def runtime_of(request: HttpRequest) -> LearnerRuntime:
    """Return the blocks of a request: whose they are, and where goes what they save."""
    learner = learner_of(request)
    if is_no_visit(request):
        return LearnerRuntime(get_course(), learner, read_only=True)
    # What staff do as a learner stays in their session.
    return LearnerRuntime(get_course(), learner, session=request.session if learner.user != request.user else None)


def learner_of(request: HttpRequest) -> Learner:
    """Return whose course a request sees: the sender's, or that of the learner whom staff view it as."""
    user = request.user
    if not user.is_authenticated:
        return nobody(user) if is_no_visit(request) else visitor(user, request.session)
    return with_account(_viewed(request) or user)


def _viewed(request: HttpRequest) -> User | None:
    if not request.user.is_staff or VIEWED_AS not in request.session:
        return None
    return get_user_model().objects.filter(pk=request.session[VIEWED_AS]).first()


def view_as(request: HttpRequest, learner: User) -> None:
    """Show the course as this learner sees it from now on."""
    request.session[VIEWED_AS] = learner.pk


def stop_viewing(request: HttpRequest) -> None:
    """Show one's own course again, and forget what was done as others."""
    request.session.pop(VIEWED_AS, None)
    clear_masquerade(request.session)


def for_templates(request: HttpRequest) -> dict[str, Any]:
    """Tell templates as whom the course is viewed, if that is somebody else."""
    return {"viewed_as": _viewed(request)}


def is_no_visit(request: HttpRequest) -> bool:
    """Tell whether nobody is looking: a crawler, or a browser that fetches a page in case its user should go there."""
    is_fetched_ahead = "prefetch" in request.headers.get("Sec-Purpose", "")
    return is_fetched_ahead or bool(CRAWLERS.search(request.headers.get("User-Agent", "")))
