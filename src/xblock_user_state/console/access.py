"""The one place that decides who sees a page of the console.

A view asks before it looks up anything, so that a refusal says nothing of the learner, the course or the block.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from opaque_keys.edx.keys import LearningContextKey, UsageKey


class Action(StrEnum):
    """The kinds of access that pages ask for."""

    READ = "read"
    """The state and scores of one learner."""
    SEE_HISTORY = "see_history"
    REPORT = "report"
    """All learners of a course, or of the site."""
    OPERATE = "operate"
    """The health of the store, without any learner's data."""


PERMISSIONS = {
    Action.READ: "xblock_user_state.view_studentmodule",
    Action.SEE_HISTORY: "xblock_user_state.view_studentmodulehistory",
    Action.REPORT: "xblock_user_state.view_studentmodule",
    Action.OPERATE: "xblock_user_state.view_historyoutbox",
}
"""The permission of each action. Django makes these permissions with the tables."""


def may(
    user: Any,
    action: Action,
    username: str | None = None,
    context_key: LearningContextKey | None = None,
    block_key: UsageKey | None = None,
) -> bool:
    """Tell whether a user may do this to a learner's state, or to all learners' if `username` is ``None``.

    Active superusers may, and holders of the permission. Learners see not even their own state: the console is for
    staff.
    """
    # Learner and place are for policies of hosts; a permission of Django's counts for all of them.
    return bool(user.has_perm(PERMISSIONS[action]))


def require(
    request: HttpRequest,
    action: Action,
    username: str | None = None,
    context_key: LearningContextKey | None = None,
    block_key: UsageKey | None = None,
) -> None:
    """Raise Django's ``PermissionDenied`` unless the user of the request may do this."""
    if not may(request.user, action, username, context_key, block_key):
        raise PermissionDenied
