"""Fixtures and hooks for all tests."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import pytest
from django.db import connection, connections

from xblock_user_state.store import hot_rows

_SCHEMES = {"sqlite": "sqlite", "postgresql": "postgres", "mysql": "mysql"}
_URL_VARIABLES = {"default": "DATABASE_URL", "student_module_history": "HISTORY_DATABASE_URL"}


def pytest_report_header() -> str:
    return f"database: {connection.vendor}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests that need a second database where the run has one; open both to all tests where it has two."""
    if "student_module_history" in connections:
        for item in items:
            _open_all_databases(item)
        return
    skip = pytest.mark.skip(reason="HISTORY_DATABASE_URL names no database")
    for item in items:
        if item.get_closest_marker("extended_history"):
            item.add_marker(skip)


def _open_all_databases(item: pytest.Item) -> None:
    marker = item.get_closest_marker("django_db")
    fixtures = set(getattr(item, "fixturenames", ()))
    if marker is None and fixtures.isdisjoint({"db", "transactional_db"}):
        return
    kwargs = marker.kwargs if marker else {"transaction": "transactional_db" in fixtures}
    item.add_marker(pytest.mark.django_db(**{"databases": "__all__", **kwargs}), append=False)


def _database_url(vendor: str, settings: Mapping[str, Any]) -> str:
    if vendor == "sqlite":
        return f"sqlite:///{settings['NAME']}"
    account = quote(settings["USER"], safe="")
    if settings["PASSWORD"]:
        account += ":" + quote(settings["PASSWORD"], safe="")
    port = f":{settings['PORT']}" if settings["PORT"] else ""
    return f"{_SCHEMES[vendor]}://{account}@{quote(settings['HOST'], safe='')}{port}/{settings['NAME']}"


@pytest.fixture
def child_environment(django_db_setup: None) -> dict[str, str]:
    """Environment variables for a child process: ``tests.settings`` then uses this run's test databases."""
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    for alias in connections:
        one = connections[alias]
        environment[_URL_VARIABLES[alias]] = _database_url(one.vendor, one.settings_dict)
    return environment


@pytest.fixture(autouse=True)
def _no_hot_rows() -> None:
    """Begin with empty hot rows, as a new process does: many tests use the same keys."""
    hot_rows._until.clear()


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """Path of the installed Chromium. Without one the test is skipped, or fails if REQUIRE_BROWSER=1."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is not None:
        return found
    reason = "there is no Chromium on this machine; install the Debian package chromium"
    if os.environ.get("REQUIRE_BROWSER") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
