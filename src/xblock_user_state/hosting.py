"""The client and the key-value store of a request, whether its user has an account or not."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib.sessions.backends.base import SessionBase

from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.ephemeral import EphemeralXBlockUserStateClient, visitor_id
from xblock_user_state.interface import XBlockUserStateClient
from xblock_user_state.runtime import GradeGuard, UserStateKeyValueStore
from xblock_user_state.runtime.grades import DEFAULT_GUARD

__all__ = ["anonymous_id_for", "client_for", "store_for"]

Accounts = Callable[[Any], XBlockUserStateClient]


def client_for(
    user: Any, session: SessionBase | None = None, *, accounts: Accounts = DjangoXBlockUserStateClient
) -> XBlockUserStateClient:
    """Return the client of a user: the database for accounts, Django's cache for the visitor of a session.

    Without a session, a visitor reads what all learners share, and writes raise `PermissionDenied`. `accounts` makes
    another client than the database's of a user with an account; of ``None``, for the state that all learners share.
    """
    if user.is_authenticated:
        return accounts(user)
    if session is None:
        return accounts(None)
    return EphemeralXBlockUserStateClient(visitor_id(session), accounts(None))


def store_for(
    user: Any,
    session: SessionBase | None = None,
    *,
    viewed_as: Any = None,
    read_only: bool = False,
    grade_guard: GradeGuard = DEFAULT_GUARD,
    accounts: Accounts = DjangoXBlockUserStateClient,
) -> UserStateKeyValueStore:
    """Return the key-value store of a request. `user`, `session` and `accounts` are as for `client_for`.

    Many blocks write when they are first viewed, so every view needs a place for writes. An account writes to the
    database, a visitor to the cache (see `xblock_user_state.ephemeral`), and a visitor without a session nowhere.

    Its `for_learner`, for blocks that are rebound to another learner, gives a store of that account, whose writes reach
    the database also in the request of a visitor. The actor in the history is the user of the request; in the request
    of a visitor it is the learner.

    With `viewed_as`, the learner as whom staff view the course, writes stay in the session of the staff. Raises
    ``ValueError`` if there is none. With `read_only`, for crawlers, all writes are dropped, and a visitor gets no entry
    in the session.
    """
    if viewed_as is not None and session is None and not read_only:
        raise ValueError("viewed_as needs the session of the staff member: writes must not reach the learner's state")
    learner = user if viewed_as is None else viewed_as
    drops = read_only or (session is None and not learner.is_authenticated)
    kept = None if drops or viewed_as is None else session
    client = client_for(learner, None if drops else session, accounts=accounts)

    def other(account: Any) -> UserStateKeyValueStore:
        options: Any = {"read_only": read_only, "grade_guard": grade_guard, "accounts": accounts}
        # A visitor's request may save for an account. What keeps writes from the learner keeps them from all.
        if viewed_as is not None:
            return store_for(user, session, viewed_as=account, **options)
        return store_for(account, **options)

    # By default the stores of others have this client too, and its user is the actor of their changes.
    makes_others = None if learner.is_authenticated else other
    return UserStateKeyValueStore(
        client, learner, read_only=drops, session=kept, grade_guard=grade_guard, other=makes_others
    )


def anonymous_id_for(user: Any, session: SessionBase | None = None) -> str:
    """Return an id of the user, or of the visitor of a session, that is stable and does not reveal who it is.

    Without a session, all visitors have the same id. It is made with the setting ``SECRET_KEY``, so that blocks, which
    give it to other servers, can't compute the ids of other users; a new key changes all ids.
    """
    who = "nobody"
    if user.is_authenticated:
        who = f"user {user.pk}"
    elif session is not None:
        who = f"visitor {visitor_id(session)}"
    return hashlib.blake2b(f"{settings.SECRET_KEY}/{who}".encode(), digest_size=16).hexdigest()
