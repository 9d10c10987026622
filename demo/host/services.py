"""The runtime services of the course's blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib.auth import get_user_model
from django.db.models import Q

from xblock_user_state.runtime import UserStateService, only_own, plain_services

if TYPE_CHECKING:
    from opaque_keys.edx.keys import UsageKey

    from demo.host.learners import Learner


def user_state_for(learner: Learner) -> UserStateService:
    """Return the service that reads other blocks' state. Staff may read all states, learners only their own."""

    def may_read(reader: str, username: str, block_key: UsageKey) -> bool:
        return learner.user.is_staff or only_own(reader, username, block_key)

    return UserStateService(learner.client, learner.user.username, may_read, username_of=username_of)


def username_of(name: str) -> str | None:
    """Return the username for a username or an e-mail address. A name that fits two accounts is nobody's."""
    found = get_user_model().objects.filter(Q(username=name) | Q(email=name)).values_list("username", flat=True)[:2]
    return found[0] if len(found) == 1 else None


def services_for(learner: Learner) -> dict[str, object]:
    """Return the services that the course's blocks ask for, besides those of every runtime."""
    return {**plain_services(learner.user, learner.anonymous_id), "user_state": user_state_for(learner)}
