"""The runtime services of the course's blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.auth import get_user_model
from django.db.models import Q

from xblock_user_state.access import Action, OwnState
from xblock_user_state.runtime import UserStateService, plain_services

if TYPE_CHECKING:
    from demo.host.learners import Learner


class StaffReadAll(OwnState):
    """Lets staff read all states, and learners only their own."""

    def may(self, actor: Any, action: Action, *asked: Any) -> bool:
        reads_as_staff = action == Action.READ and getattr(actor, "is_staff", False)
        return reads_as_staff or super().may(actor, action, *asked)


def user_state_for(learner: Learner) -> UserStateService:
    """Return the service that reads other blocks' state."""
    return UserStateService(learner.client, learner.user, StaffReadAll(), username_of=username_of)


def username_of(name: str) -> str | None:
    """Return the username for a username or an e-mail address. A name that fits two accounts is nobody's."""
    found = get_user_model().objects.filter(Q(username=name) | Q(email=name)).values_list("username", flat=True)[:2]
    return found[0] if len(found) == 1 else None


def services_for(learner: Learner) -> dict[str, object]:
    """Return the services that the course's blocks ask for, besides those of every runtime."""
    return {**plain_services(learner.user, learner.anonymous_id), "user_state": user_state_for(learner)}
