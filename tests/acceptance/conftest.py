"""Fixtures of the tests with real processes: workers, learners, the demo and a browser."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from playwright.sync_api import Browser, sync_playwright

from tests.acceptance.demo_server import DemoServer
from tests.acceptance.processes import Crew, ForkServer

if TYPE_CHECKING:
    from pytest_django import DjangoDbBlocker

Manage = Callable[..., str]
Start = Callable[..., subprocess.Popen[str]]

CHROMIUM_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


@pytest.fixture(scope="session")
def fork_server() -> Iterator[ForkServer]:
    server = ForkServer()
    yield server
    server.close()


@pytest.fixture
def crew(fork_server: ForkServer, child_environment: dict[str, str], transactional_db: None) -> Iterator[Crew]:
    """Worker processes on the run's test database."""
    fork_server.start(child_environment)
    crew = Crew(fork_server)
    yield crew
    crew.dismiss()


@pytest.fixture
def learners(transactional_db: None) -> list[str]:
    """The usernames of eight learners."""
    users = [get_user_model().objects.create_user(f"learner{number}") for number in range(8)]
    return [user.get_username() for user in users]


@pytest.fixture
def learner(learners: list[str]) -> str:
    return learners[0]


@pytest.fixture
def start(child_environment: dict[str, str]) -> Iterator[Start]:
    """Starts ``python -m`` with these arguments and environment variables, and ends the processes after the test."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str, **variables: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", *arguments]
        environment = {**child_environment, **variables}
        pipe = subprocess.PIPE
        started.append(subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def manage(child_environment: dict[str, str]) -> Manage:
    """Runs a management command in a process, expects success, and returns its output."""

    def manage(*arguments: str) -> str:
        command = [sys.executable, "-m", "django", *arguments]
        done = subprocess.run(command, env=child_environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return manage


@pytest.fixture(scope="module")
def database_url(tmp_path_factory: pytest.TempPathFactory, django_db_blocker: DjangoDbBlocker) -> Iterator[str]:
    """The URL of an empty database on this run's server, for the demo of one module."""
    if connection.vendor == "sqlite":
        yield f"sqlite:///{tmp_path_factory.mktemp('database')}/demo.sqlite3"
        return
    name = f"demo_{uuid4().hex[:12]}"
    charset = " CHARACTER SET utf8mb4" if connection.vendor == "mysql" else ""
    with django_db_blocker.unblock(), connection._nodb_cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name}{charset}")
    yield urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}").geturl()
    force = " WITH (FORCE)" if connection.vendor == "postgresql" else ""
    with django_db_blocker.unblock(), connection._nodb_cursor() as cursor:
        cursor.execute(f"DROP DATABASE {name}{force}")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> Iterator[DemoServer]:
    with DemoServer(tmp_path_factory.mktemp("demo"), {"DATABASE_URL": database_url}) as server:
        yield server


@pytest.fixture(scope="module")
def browser(chromium_path: str, database_url: str) -> Iterator[Browser]:
    """A browser for this module.

    While it runs, Django can't use a database in this process; so `database_url` creates the demo's database first.
    """
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=chromium_path, args=CHROMIUM_FLAGS)
        yield chromium
        chromium.close()
