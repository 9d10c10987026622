"""For the tests of hosts: names the databases of learner state, so that all of them are emptied between tests.

`LearnerStateDatabases` is for Django's test cases. For pytest there are the fixtures of
`xblock_user_state.testing.pytest_plugin`.
"""

from __future__ import annotations

from typing import Any

from django.db import DEFAULT_DB_ALIAS
from django.utils.functional import classproperty

from xblock_user_state import conf
from xblock_user_state.store.databases import state_database

__all__ = ["LearnerStateDatabases"]


def learner_state_databases() -> set[str]:
    """Return the aliases that tests with learner state use: of users, state, and the extended history if any."""
    history = {conf.history_database()} if conf.has_extended_history() else set()
    return {DEFAULT_DB_ALIAS, state_database()} | history


class LearnerStateDatabases:
    """Mix it into a ``TestCase`` or ``TransactionTestCase``, before that class.

    In a ``TestCase`` nothing is committed, so history stays in the outbox, which readers see.
    """

    # Asked for when a test class is set up: a test may change the settings.
    databases: Any = classproperty(lambda _: learner_state_databases())
