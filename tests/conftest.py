"""Fixtures and hooks for all tests."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any
from urllib.parse import quote

import pytest
from django.db import connections

from tests import citus
from tests.emptying import empty_after_tests
from tests.over_http.service_process import ServiceProcess
from xblock_user_state.store import hot_rows

_SCHEMES = {"sqlite": "sqlite", "postgresql": "postgres", "mysql": "mysql"}
_URL_VARIABLES = {"default": "DATABASE_URL", "student_module_history": "HISTORY_DATABASE_URL"}


empty_after_tests()


def pytest_report_header() -> str:
    return f"database: {citus.DIALECT}"


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


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """Distribute the test databases where the run is on a cluster of Citus."""
    with ExitStack() as databases:
        if citus.URL:
            with django_db_blocker.unblock():
                databases.enter_context(citus.distributed())
        yield
        with django_db_blocker.unblock():
            databases.close()


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
    return _child_environment()


@pytest.fixture(scope="session")
def service(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """The service over HTTP, in processes of its own on this run's test databases."""
    with ServiceProcess(tmp_path_factory.mktemp("service"), _child_environment()) as service:
        yield service


def _child_environment() -> dict[str, str]:
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
