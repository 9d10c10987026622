"""Aliases of the databases of learner state and of the users. `conf` has that of the extended history."""

from __future__ import annotations

from django.contrib.auth import get_user_model
from django.db import router

from xblock_user_state.store.models import StudentModule


def state_database() -> str:
    """Return the alias of the database that the host's routers give learner state. Reads use it too."""
    # Not `db_for_read`: a replica that lags would give a state that the next write then reverts.
    return router.db_for_write(StudentModule)


def user_database() -> str:
    """Return the alias of the database that the host's users are written to. Names are looked up there."""
    # Not `db_for_read`: on a replica that lags a new user is missing, and a name that was freed and taken again is that
    # of another learner.
    return router.db_for_write(get_user_model())
