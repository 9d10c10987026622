"""Test support for hosts: names the databases of learner state, which Django then empties between tests.

Django's test cases use `LearnerStateDatabases`; pytest uses the fixtures of `xblock_user_state.testing.pytest_plugin`.
"""

from __future__ import annotations

from typing import Any

from django.db import DEFAULT_DB_ALIAS
from django.utils.functional import classproperty

from xblock_user_state import conf
from xblock_user_state.store.databases import reports_database, state_database

__all__ = ["LearnerStateDatabases"]


def learner_state_databases() -> set[str]:
    """Return the aliases of the databases of users and of state, of the extended history and of the replica if any."""
    history = {conf.history_database()} if conf.has_extended_history() else set()
    return {DEFAULT_DB_ALIAS, state_database(), reports_database()} | history


class LearnerStateDatabases:
    """Mixin for a ``TestCase`` or ``TransactionTestCase``; name it before that class.

    A ``TestCase`` commits nothing, so new entries of an extended history stay in the outbox, where readers see them.
    """

    # A property, read when the test class is set up: a test may change the settings.
    databases: Any = classproperty(lambda _: learner_state_databases())
