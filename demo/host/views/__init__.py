"""The pages: of learners, of staff, and what blocks call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.http import HttpRequest

if TYPE_CHECKING:
    from django.contrib.auth.models import User


class KnownRequest(HttpRequest):
    """A request of someone who is logged in."""

    user: User
