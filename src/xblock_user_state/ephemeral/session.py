"""The visitor of a session: who they are, and what becomes of them at login."""

from __future__ import annotations

import secrets

from django.contrib.sessions.backends.base import SessionBase
from django.db import transaction

from xblock_user_state.ephemeral.client import EphemeralXBlockUserStateClient
from xblock_user_state.interface import XBlockUserStateClient
from xblock_user_state.store.databases import state_database

VISITOR = "xblock_user_state.visitor"


def visitor_id(session: SessionBase) -> str:
    """Return the id of this session's visitor, made at the first call: 128 random bits, which nobody can guess.

    The session keeps it through Django's ``login``, for `adopt_visitor`; ``logout`` ends it with the session.
    """
    if VISITOR not in session:
        session[VISITOR] = secrets.token_hex(16)
    visitor: str = session[VISITOR]
    return visitor


def adopt_visitor(
    session: SessionBase, client: XBlockUserStateClient, username: str, *, cache: str = "default"
) -> None:
    """Move what was done in this session before login into the account, see ``adopt_into``.

    To be called right after ``login``; in a transaction, such as that of ``ATOMIC_REQUESTS``, it happens once that is
    committed. Does nothing where there was no visitor. If it raises, the session still knows the visitor, and a later
    call moves everything.
    """
    if VISITOR not in session:
        return
    visitor = EphemeralXBlockUserStateClient(session[VISITOR], client, cache=cache)

    def adopt() -> None:
        visitor.adopt_into(client, username)
        session.pop(VISITOR, None)

    transaction.on_commit(adopt, using=state_database())
