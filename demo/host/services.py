"""The runtime services of the course's blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.auth import get_user_model
from django.core.cache import cache
from django.db.models import Q
from xblock.reference.user_service import UserService, XBlockUser

from xblock_user_state.runtime import UserStateService, only_own

if TYPE_CHECKING:
    from opaque_keys.edx.keys import UsageKey

    from demo.host.learners import Learner


class CurrentUser(UserService):
    """The learner of the request, under Open edX's attribute names, which blocks rely on."""

    def __init__(self, learner: Learner) -> None:
        super().__init__()
        user = learner.user
        # A visitor has neither email address nor name.
        self._user = XBlockUser(is_current_user=True)
        if user.is_authenticated:
            self._user = XBlockUser(is_current_user=True, emails=[user.email], full_name=user.get_full_name())
        self._user.opt_attrs = {
            "edx-platform.user_id": user.id,
            "edx-platform.username": user.username,
            "edx-platform.user_is_staff": user.is_staff,
            "edx-platform.deprecated_anonymous_user_id": learner.anonymous_id,
        }

    def get_current_user(self) -> XBlockUser:
        return self._user


def user_state_for(learner: Learner) -> UserStateService:
    """Return the service that reads other blocks' state. Staff may read all states, learners only their own."""

    def may_read(reader: str, username: str, block_key: UsageKey) -> bool:
        return learner.user.is_staff or only_own(reader, username, block_key)

    return UserStateService(learner.client, learner.user.username, may_read, username_of=username_of)


def username_of(name: str) -> str | None:
    """Return the username for a username or an e-mail address. A name that fits two accounts is nobody's."""
    found = get_user_model().objects.filter(Q(username=name) | Q(email=name)).values_list("username", flat=True)[:2]
    return found[0] if len(found) == 1 else None


class Sandbox:
    """Forbids scripts in the server's process. `demo.host.scripts` runs them."""

    def can_execute_unsafe_code(self) -> bool:
        return False

    def get_python_lib_zip(self) -> None:
        """Return the course's own modules for scripts: none."""


class NoQueue:
    """A placeholder for the queue of external graders, which the course does not use."""


class PlainUrls:
    """Leaves addresses unchanged: the course contains no Open edX shortcuts such as ``/static/``."""

    def replace_urls(self, text: str, **_options: Any) -> str:
        # capa passes text that is marked as safe, and puts the result into an attribute, which must be escaped. The sum
        # with a plain string is not marked.
        return text + ""


def services_for(learner: Learner) -> dict[str, object]:
    return {
        "user": CurrentUser(learner),
        "cache": cache,
        "sandbox": Sandbox(),
        "xqueue": NoQueue(),
        "replace_urls": PlainUrls(),
        "user_state": user_state_for(learner),
    }
