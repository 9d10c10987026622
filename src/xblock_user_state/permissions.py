"""The policy of a Django site: by default own state, superusers, and holders of the models' permissions."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from django.utils.module_loading import import_string
from opaque_keys.edx.keys import LearningContextKey

from xblock_user_state import conf
from xblock_user_state.access import Action, OwnState, Policy
from xblock_user_state.interface import BlockKey, Learner

__all__ = ["PERMISSIONS", "PermissionPolicy", "site_policy"]

PERMISSIONS = {
    Action.READ: "xblock_user_state.view_studentmodule",
    Action.WRITE: "xblock_user_state.change_studentmodule",
    Action.SEE_HISTORY: "xblock_user_state.view_studentmodulehistory",
    Action.REPORT: "xblock_user_state.view_studentmodule",
    Action.ACT: "xblock_user_state.change_studentmodule",
    Action.ERASE: "xblock_user_state.delete_studentmodule",
}
"""The permission of each action. Django makes these permissions with the tables."""


class PermissionPolicy(OwnState):
    """Own state, as `OwnState` says. Active superusers may do all, others as their permissions say.

    The setting ``STAFF_COURSES`` may limit permissions to courses. Users without a method ``has_perm`` have none.
    """

    def may(
        self,
        actor: Any,
        action: Action,
        username: Learner,
        context_key: LearningContextKey | None,
        block_key: BlockKey,
    ) -> bool:
        if super().may(actor, action, username, context_key, block_key):
            return True
        # Django caches the permissions in the user object.
        if not hasattr(actor, "has_perm") or not actor.has_perm(PERMISSIONS[action]):
            return False
        return getattr(actor, "is_superuser", False) or _is_staff_in(actor, context_key)


def site_policy() -> Policy:
    """Return the policy of the setting ``POLICY``. The console asks it; a client asks only the one that it is given."""
    return _policy(conf.value("POLICY"))


@lru_cache(8)
def _policy(path: str) -> Policy:
    found: Policy = import_string(path)()
    return found


def _is_staff_in(user: Any, context_key: LearningContextKey | None) -> bool:
    path = conf.value("STAFF_COURSES")
    if not path:
        return True
    # In the user object, as Django caches permissions: a call over many blocks of a course asks the host once.
    answers: dict[LearningContextKey | None, bool] = user.__dict__.setdefault("_xblock_user_state_courses", {})
    if context_key not in answers:
        answers[context_key] = bool(_function(path)(user, context_key))
    return answers[context_key]


@lru_cache(8)
def _function(path: str) -> Callable[[Any, LearningContextKey | None], bool]:
    found: Callable[[Any, LearningContextKey | None], bool] = import_string(path)
    return found
