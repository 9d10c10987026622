"""Django settings of the test suite: the database comes from ``DATABASE_URL``; the default is SQLite.

Each run creates test databases with unique names, so that parallel runs never share one, even on one server. Child
processes find the run's databases through the fixture ``child_environment``.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from typing import Any

import dj_database_url

# An environment variable, so that child processes use the same names.
TEST_RUN = os.environ.setdefault("XBLOCK_USER_STATE_TEST_RUN", secrets.token_hex(4))


def _sqlite(database: dict[str, Any], test_name: str) -> dict[str, Any]:
    """Return the settings that the documentation recommends for SQLite, with a file as the test database.

    Other processes could not share a database in memory, and it would hide the effects of locking.
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
    """Add the timeouts that the documentation recommends for the history database, with room for a busy machine."""
    options: dict[str, dict[str, Any]] = {
        "django.db.backends.postgresql": {"connect_timeout": 10, "tcp_user_timeout": 30_000},
        "django.db.backends.mysql": {"connect_timeout": 10},
    }
    return {**database, "OPTIONS": {**options.get(database["ENGINE"], {}), **database.get("OPTIONS", {})}}


if _citus_url := os.environ.get("CITUS_URL"):
    # Child processes get the URL of the test database, which comes first.
    os.environ.setdefault("DATABASE_URL", _citus_url)
DATABASES = {"default": _database(os.environ.get("DATABASE_URL") or "sqlite://:memory:", "default")}
_history_url = os.environ.get("HISTORY_DATABASE_URL")
if _history_url:
    DATABASES["student_module_history"] = _bounded(_database(_history_url, "student_module_history"))

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "xblock_user_state",
    "xblock_user_state.console",
    "xblock_user_state.openedx",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
# Without a table, which most tests do not need.
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
ROOT_URLCONF = "tests.urls"
LOGIN_URL = "/login/"
STATIC_URL = "/static/"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
# Tests create hundreds of accounts, so the hash must be cheap.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
SECRET_KEY = "only for tests"
# Tests change entries of this dict; test_conf and test_checks remove it.
XBLOCK_USER_STATE: dict[str, object] = {}
# For the tests of races and kills with each choice (CONTRIBUTING.md).
if choice := os.environ.get("PREPARE_STATEMENTS"):
    XBLOCK_USER_STATE["PREPARE_STATEMENTS"] = choice
# For runs of the whole suite on tables with partitions; tests that replace the dict above keep it.
if kind := os.environ.get("HISTORY_PARTITIONS"):
    XBLOCK_USER_STATE_PLUGIN_DEFAULTS = {"HISTORY_PARTITIONS": kind}
USE_TZ = True
TIME_ZONE = "UTC"

if _history_url:
    INSTALLED_APPS.append("xblock_user_state.extended_history")
    DATABASE_ROUTERS = ["xblock_user_state.extended_history.router.StudentModuleHistoryExtendedRouter"]
