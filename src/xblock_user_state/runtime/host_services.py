"""Services that blocks from Open edX ask of every host, for hosts that have nothing behind them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from django.core.cache import cache
from xblock.reference.user_service import UserService, XBlockUser


def _nobody(anonymous_id: str) -> None:
    """Find no user."""


class CurrentUserService(UserService):
    """The service ``user``: the user of the request, under the attribute names of Open edX, on which blocks rely."""

    def __init__(
        self,
        user: Any,
        anonymous_id: str = "",
        *,
        user_of: Callable[[str], Any] = _nobody,
        role: str = "",
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        """`user` is a Django user or ``AnonymousUser``; `anonymous_id` is an id that blocks may give to other servers.

        `user_of` returns the user with another anonymous id, or ``None``. `role` is one of Open edX's: ``"student"``,
        ``"staff"`` or ``"instructor"``; by default it follows ``is_staff``. `attributes` are more ``opt_attrs``
        of the user, such as ``"edx-platform.request_country_code"``. They may replace the others.
        """
        super().__init__()
        self._user = user
        self._anonymous_id = anonymous_id
        self._user_of = user_of
        # A visitor has neither email address nor name.
        self._current = XBlockUser(is_current_user=True)
        if user.is_authenticated:
            self._current = XBlockUser(is_current_user=True, emails=_emails(user), full_name=_full_name(user))
        # A custom user model may lack it.
        is_staff = getattr(user, "is_staff", False)
        self._current.opt_attrs = {
            "edx-platform.is_authenticated": user.is_authenticated,
            "edx-platform.user_id": user.pk,
            "edx-platform.username": user.get_username(),
            "edx-platform.user_is_staff": is_staff,
            "edx-platform.user_role": role or ("staff" if is_staff else "student"),
            "edx-platform.anonymous_user_id": anonymous_id,
            "edx-platform.deprecated_anonymous_user_id": anonymous_id,
            # Video chooses servers by the country of the request.
            "edx-platform.request_country_code": None,
        }
        # Last, so that a host may replace each of them.
        self._current.opt_attrs.update(attributes or {})

    def get_current_user(self) -> XBlockUser:
        return self._current

    def get_user_by_anonymous_id(self, anonymous_id: str | None = None) -> Any:
        """Return the Django user of this id, without an id the current one; ``None`` for a visitor and for nobody."""
        if anonymous_id is None or anonymous_id == self._anonymous_id:
            return self._user if self._user.is_authenticated else None
        return self._user_of(anonymous_id)


def _emails(user: Any) -> list[str]:
    email = getattr(user, user.get_email_field_name(), None)
    return [email] if email else []


def _full_name(user: Any) -> str:
    return str(user.get_full_name()) if hasattr(user, "get_full_name") else ""


class NoSandbox:
    """The service ``sandbox`` of a host that runs no Python scripts of problems in its own process."""

    def can_execute_unsafe_code(self) -> bool:
        return False

    def get_python_lib_zip(self) -> None:
        """Return the course's own modules for scripts: none."""


class NoQueue:
    """The service ``xqueue`` of a host without external graders. Problems ask for it, and use it for these only."""


class PlainUrls:
    """The service ``replace_urls`` of a host whose courses contain no shortcuts of Open edX, such as ``/static/``."""

    def replace_urls(self, text: str, **_options: Any) -> str:
        # capa passes text that is marked as safe, and puts the result into an attribute, which must be escaped. This
        # method of the base class makes a plain string of a marked one.
        return str.__str__(text)


def plain_services(user: Any, anonymous_id: str = "") -> dict[str, object]:
    """Return ``user``, ``cache``, ``sandbox``, ``xqueue`` and ``replace_urls``: enough for problems without scripts.

    ``cache`` is Django's default cache. See `CurrentUserService` for the arguments.
    """
    return {
        "user": CurrentUserService(user, anonymous_id),
        "cache": cache,
        "sandbox": NoSandbox(),
        "xqueue": NoQueue(),
        "replace_urls": PlainUrls(),
    }
