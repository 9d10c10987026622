"""The one place that decides who sees a page of the console: it asks the host's policy.

A view asks before it looks up anything, so that a refusal says nothing of the learner, the course or the block.
"""

from __future__ import annotations

from typing import Any

from django.core import exceptions
from django.http import HttpRequest
from opaque_keys.edx.keys import LearningContextKey, UsageKey

from xblock_user_state.access import Action, Question, ask, is_own
from xblock_user_state.console.hosts import console_host
from xblock_user_state.interface import PermissionDenied
from xblock_user_state.metrics.access import report_access

OPERATE = "xblock_user_state.view_historyoutbox"
"""Django's permission to see the health of the store. It is about no learner, so no policy is asked."""

_READS = (Action.READ, Action.SEE_HISTORY)


def may_operate(user: Any) -> bool:
    """Tell whether a user may see the health of the store."""
    return bool(user.has_perm(OPERATE))


def require(
    request: HttpRequest,
    action: Action,
    username: str | None = None,
    context_key: LearningContextKey | None = None,
    block_key: UsageKey | None = None,
) -> None:
    """Raise Django's ``PermissionDenied`` unless the policy lets the user do this to a learner's state.

    Without a username it is about all learners. Policies let learners read their own state, and the console is for
    staff: whoever asks for their own state must be allowed to see all learners'.
    """
    question = _question(request, action, username, context_key, block_key)
    try:
        ask(console_host().policy, question, report_access)
    except PermissionDenied:
        # Django logs the whole chain, and the policy's answer has been reported.
        raise exceptions.PermissionDenied from None


def allows(
    request: HttpRequest,
    action: Action,
    username: str | None = None,
    context_key: LearningContextKey | None = None,
    block_key: UsageKey | None = None,
) -> bool:
    """Tell whether `require` would let the user pass, to show a link. Not reported: nothing was asked for."""
    try:
        return bool(console_host().policy.may(*_question(request, action, username, context_key, block_key)))
    except PermissionDenied:
        return False


def _question(request: HttpRequest, action: Action, username: str | None, *where: Any) -> Question:
    question = Question(request.user, action, username, *where)
    if action in _READS and is_own(request.user, username):
        return question._replace(action=Action.REPORT, username=None)
    return question
