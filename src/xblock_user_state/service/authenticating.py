"""The package's own authenticators: signed tokens, and Django's sessions."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.middleware.csrf import CsrfViewMiddleware

from xblock_user_state.interface import ServiceUnavailable
from xblock_user_state.permissions import site_policy
from xblock_user_state.service.callers import Caller, NotAuthenticated
from xblock_user_state.service.grants import TokenPolicy
from xblock_user_state.service.tokens import Claims, InvalidToken, read_token
from xblock_user_state.store.databases import user_database
from xblock_user_state.store.transactions import errors_translated
from xblock_user_state.store.users import account, id_of


def token(request: HttpRequest) -> Caller | None:
    """Authenticate by ``Authorization: Bearer TOKEN``. The host's policy is asked about what the token grants."""
    claims = _claims(request)
    if claims is None:
        return None
    # In a frame without the token: a failure here may be reported with the values of the frames.
    return Caller(_account(claims), TokenPolicy(claims.grants, site_policy()), f"token {claims.token_id}")


def session(request: HttpRequest) -> Caller | None:
    """Authenticate by the session of Django, for pages of the same host. Writes need the page's CSRF token."""
    with errors_translated(user_database()):
        user = getattr(request, "user", None)
        if user is None or not user.is_authenticated:
            return None
    # Django's middleware leaves the service's views alone, because most callers have no cookies.
    refused = CsrfViewMiddleware(_nothing).process_view(request, _nothing, (), {})
    if refused is not None:
        raise NotAuthenticated("a session needs the CSRF token of its page, in the header X-CSRFToken")
    return Caller(user, site_policy())


def _claims(request: HttpRequest) -> Claims | None:
    scheme, _, text = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        return None
    try:
        return read_token(text.strip())
    except InvalidToken as error:
        # No chain: its frames have the token.
        raise NotAuthenticated(f"the token is not valid: {error}") from None


def _account(claims: Claims) -> Any:
    """Return the user of a token. One statement, so that a user who was deactivated is out at once."""
    try:
        user = account(claims.username)
    except ServiceUnavailable:
        # The database may have closed the connection that an earlier request had left. This read finds out, in the
        # place of Django's check, which takes a statement before each request. The second read has a new connection.
        user = account(claims.username)
    # The id: another user may have got the name.
    if user is not None and user.is_active and claims.user_id in (None, str(id_of(user))):
        return user
    raise NotAuthenticated("the token is not valid: its user has no active account")


def _nothing(*_: Any) -> Any:
    return None
