"""Aliases of the databases of learner state and of the users. `conf` has that of the extended history."""

from __future__ import annotations

from django.contrib.auth import get_user_model
from django.db import connections, router

from xblock_user_state import conf
from xblock_user_state.store.dialects import dialect_of
from xblock_user_state.store.models import StudentModule


def state_database() -> str:
    """Return the alias of the database that the host's routers give learner state. Reads use it too."""
    # Not `db_for_read`: a replica that lags would give a state that the next write then reverts.
    return router.db_for_write(StudentModule)


def reports_database(using: str | None = None) -> str:
    """Return the alias for reads of many learners, which may be a moment old: `using`, or the setting ``REPLICA``.

    Without either it is the database of learner state. Raises ``ValueError`` for an alias that ``DATABASES`` lacks.
    """
    alias = using or conf.replica() or state_database()
    if alias not in connections:
        raise ValueError(f"DATABASES has no {alias!r}; it has {', '.join(map(repr, connections))}")
    return alias


def user_database() -> str:
    """Return the alias of the database that the host's users are written to. Names are looked up there."""
    # Not `db_for_read`: on a replica that lags a new user is missing, and a name that was freed and taken again is that
    # of another learner.
    return router.db_for_write(get_user_model())


def is_distributed(database: str) -> bool:
    """Tell whether learners' tables are distributed by the learner: a lock then takes the rows of one learner only."""
    return not dialect_of(connections[database]).mixes_owners
