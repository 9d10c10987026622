"""The visitor id of a session, and the adoption of a visitor's state at login."""

from __future__ import annotations

import secrets

from django.contrib.sessions.backends.base import SessionBase
from django.db import transaction

from xblock_user_state.ephemeral.client import EphemeralXBlockUserStateClient
from xblock_user_state.interface import XBlockUserStateClient
from xblock_user_state.store.databases import state_database

VISITOR = "xblock_user_state.visitor"


def visitor_id(session: SessionBase) -> str:
    """Return the id of this session's visitor. The first call makes it, of 128 random bits, which nobody can guess.

    Django's ``login`` keeps it in the session, for `adopt_visitor`; ``logout`` removes it with the session.
    """
    if VISITOR not in session:
        session[VISITOR] = secrets.token_hex(16)
    visitor: str = session[VISITOR]
    return visitor


def adopt_visitor(
    session: SessionBase, client: XBlockUserStateClient, username: str, *, cache: str = "default"
) -> None:
    """Move the state of this session's visitor into the account, by ``adopt_into``. Call it right after ``login``.

    In a transaction, such as that of ``ATOMIC_REQUESTS``, the move waits for the commit. Without a visitor the call
    does nothing. If it raises, the session still has the visitor's id, and a later call moves everything.
    """
    if VISITOR not in session:
        return
    visitor = EphemeralXBlockUserStateClient(session[VISITOR], client, cache=cache)

    def adopt() -> None:
        visitor.adopt_into(client, username)
        # Last, so that a failed adoption can be repeated.
        session.pop(VISITOR, None)

    # After the commit: a rollback would take the rows from the account, and the visitor has them no more.
    transaction.on_commit(adopt, using=state_database())
