"""The client of users with accounts: over this process's database, or over HTTP (``make demo-remote``)."""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib.auth import get_user_model

from xblock_user_state.client import DjangoXBlockUserStateClient

if TYPE_CHECKING:
    from xblock_user_state.interface import XBlockUserStateClient
    from xblock_user_state.remote import RemoteXBlockUserStateClient

SCOPES = ("state:read", "state:write", "history:read")


def account_client(user: Any = None) -> XBlockUserStateClient:
    """Return the client of a user; without one, for the state that all learners share."""
    if _address() is None:
        return DjangoXBlockUserStateClient(user)
    # A token for each user, so that the history of the service names them.
    return _service().acting_as(partial(_token_of, user))


def _address() -> str | None:
    found: str | None = getattr(settings, "SERVICE", None)
    return found


@cache
def _service() -> RemoteXBlockUserStateClient:
    """Return the one client of this process, which keeps the connections. Its callers bring their own tokens."""
    from xblock_user_state.remote import RemoteXBlockUserStateClient  # noqa: PLC0415 (needs an extra)

    return RemoteXBlockUserStateClient(str(_address()), partial(_token_of, None))


def _token_of(user: Any) -> str:
    from xblock_user_state.service.tokens import issue_token  # noqa: PLC0415 (needs an extra)

    # Visitors read what all learners share, which any account may.
    account = user or get_user_model().objects.get(username="staff")
    return issue_token(account.get_username(), account.pk, SCOPES, days=1)
