"""The services that the course's blocks ask their runtime for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.cache import cache
from xblock.reference.user_service import UserService, XBlockUser

from xblock_user_state.runtime import UserStateService, only_own

if TYPE_CHECKING:
    from opaque_keys.edx.keys import UsageKey

    from demo.host.learners import Learner


class CurrentUser(UserService):
    """Who is looking at the block, under the attribute names that Open edX made customary."""

    def __init__(self, learner: Learner) -> None:
        super().__init__()
        user = learner.user
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
    """Return what reads other blocks' state: staff may see everybody's, all others their own."""

    def may_read(reader: str, username: str, block_key: UsageKey) -> bool:
        return learner.user.is_staff or only_own(reader, username, block_key)

    return UserStateService(learner.client, learner.user.username, may_read)


class Sandbox:
    """Lets no script of a problem run in the server's process: see `demo.host.scripts`."""

    def can_execute_unsafe_code(self) -> bool:
        return False

    def get_python_lib_zip(self) -> None:
        """Return modules that scripts may import: the course has none."""


class NoQueue:
    """Stands where external graders would be asked: the course has none."""


class PlainUrls:
    """Course content here holds real addresses only: there is nothing to rewrite."""

    def replace_urls(self, text: str, **_options: Any) -> str:
        # capa hands over markup that is marked safe and puts the result into an attribute, where it must be escaped.
        # Adding to it is what takes the mark off.
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
