"""Django settings of the test suite: the database comes from ``DATABASE_URL``, without it from SQLite.

Each run of the tests makes test databases under names of its own, so that runs side by side never meet, even
on one server. Processes that a test starts find the run's database through the fixture ``child_environment``.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from typing import Any

import dj_database_url

# In the environment, so that the processes of one run agree on it.
TEST_RUN = os.environ.setdefault("XBLOCK_USER_STATE_TEST_RUN", secrets.token_hex(4))


def _sqlite(database: dict[str, Any], test_name: str) -> dict[str, Any]:
    """The settings that our documentation tells SQLite's users to have, and a test database that is a file.

    A database in memory could not be shared with other processes, and would hide what locking does.
    """
    options = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL;PRAGMA synchronous=NORMAL;",
    }
    test = {"NAME": os.path.join(tempfile.gettempdir(), f"{test_name}.sqlite3")}
    return {**database, "OPTIONS": options, "TEST": test}


def _database(url: str, alias: str) -> dict[str, Any]:
    database: dict[str, Any] = dict(dj_database_url.parse(url))
    test_name = f"test_xblock_user_state_{alias}_{TEST_RUN}"
    if database["ENGINE"].endswith(".sqlite3"):
        return _sqlite(database, test_name)
    database["TEST"] = {"NAME": test_name}
    if database["ENGINE"].endswith(".mysql"):
        database["OPTIONS"] = {**database.get("OPTIONS", {}), "charset": "utf8mb4"}
        database["TEST"]["CHARSET"] = "utf8mb4"
    return database


def _bounded(database: dict[str, Any]) -> dict[str, Any]:
    """The timeouts that our documentation tells the history database's users to have, with time for a busy machine."""
    options: dict[str, dict[str, Any]] = {
        "django.db.backends.postgresql": {"connect_timeout": 10, "tcp_user_timeout": 30_000},
        "django.db.backends.mysql": {"connect_timeout": 10},
    }
    return {**database, "OPTIONS": {**options.get(database["ENGINE"], {}), **database.get("OPTIONS", {})}}


DATABASES = {"default": _database(os.environ.get("DATABASE_URL") or "sqlite://:memory:", "default")}
_history_url = os.environ.get("HISTORY_DATABASE_URL")
if _history_url:
    DATABASES["student_module_history"] = _bounded(_database(_history_url, "student_module_history"))

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "xblock_user_state",
]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
# Accounts are made by the hundred and nobody guesses their passwords.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
SECRET_KEY = "only for tests"
# Tests change single settings in it; test_conf and test_checks take it away.
XBLOCK_USER_STATE: dict[str, object] = {}
USE_TZ = True
TIME_ZONE = "UTC"

if _history_url:
    INSTALLED_APPS.append("xblock_user_state.extended_history")
    DATABASE_ROUTERS = ["xblock_user_state.extended_history.router.StudentModuleHistoryExtendedRouter"]
