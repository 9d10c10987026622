"""Whose state a request shows, and what becomes of what its blocks save."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from demo.host.content import get_course
from demo.host.runtime import LearnerRuntime

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.http import HttpRequest

# What the programs call themselves that read whole sites, or fetch a page to show a picture of it beside a link.
CRAWLERS = re.compile(r"bot\b|crawl|spider|preview", re.IGNORECASE)


def runtime_of(request: HttpRequest, user: User) -> LearnerRuntime:
    """Return the runtime of a request of `user`."""
    return LearnerRuntime(get_course(), user, read_only=is_no_visit(request))


def is_no_visit(request: HttpRequest) -> bool:
    """Tell whether nobody is looking: a crawler, or a browser that fetches a page in case its user should go there."""
    is_fetched_ahead = "prefetch" in request.headers.get("Sec-Purpose", "")
    return is_fetched_ahead or bool(CRAWLERS.search(request.headers.get("User-Agent", "")))
