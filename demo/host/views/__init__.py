"""Views for learners, for staff, and for the requests of blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.http import HttpRequest

if TYPE_CHECKING:
    from django.contrib.auth.models import User


class KnownRequest(HttpRequest):
    """A request of a logged-in user."""

    user: User
