"""Finds the caller of a request: their user, and the policy that is asked about each call.

The setting ``SERVICE_AUTHENTICATORS`` names functions that are asked in order. Each gets the request and returns a
`Caller`; ``None`` if the request has no credentials of its kind; or raises `NotAuthenticated` if they are not valid.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

from django.http import HttpRequest
from django.utils.module_loading import import_string

from xblock_user_state import conf
from xblock_user_state.access import Policy
from xblock_user_state.service.access_log import access_of
from xblock_user_state.service.throttling import throttle

__all__ = ["Caller", "NotAuthenticated"]


class Caller(NamedTuple):
    """The actor of a request, a user of the host with an account, and the policy of what they may do."""

    actor: Any
    policy: Policy
    throttled_as: str = ""
    """Callers with the same text share one allowance of requests; without it, each user has one."""


class NotAuthenticated(Exception):
    """This service needs a token, or the session of a user who has logged in."""

    def __init__(self, *args: object) -> None:
        # The docstring is the default message, as with the contract's errors.
        super().__init__(*(args or (type(self).__doc__,)))


Authenticator = Callable[[HttpRequest], Caller | None]


def caller_of(request: HttpRequest) -> Caller:
    """Return the caller of a request.

    Raises `NotAuthenticated`, also for a write by a session that another site may have sent, and `TooManyRequests`.
    """
    for path in conf.value("SERVICE_AUTHENTICATORS"):
        caller = _authenticator(path)(request)
        if caller is not None:
            access = access_of(request)
            access.actor = caller.actor.get_username()
            throttle(caller.throttled_as or f"user {access.actor}")
            return caller._replace(policy=access.noting(caller.policy))
    raise NotAuthenticated


@lru_cache(8)
def _authenticator(path: str) -> Authenticator:
    found: Authenticator = import_string(path)
    return found
