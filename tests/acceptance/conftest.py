"""What the tests with real processes share: workers and learners."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from django.contrib.auth import get_user_model

from tests.acceptance.processes import Crew, ForkServer

Manage = Callable[..., str]
Start = Callable[..., subprocess.Popen[str]]


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
    """Starts ``python -m`` with these arguments and variables; no process outlives the test."""
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
    """Runs a management command as a process, which is to succeed; returns what it prints."""

    def manage(*arguments: str) -> str:
        command = [sys.executable, "-m", "django", *arguments]
        done = subprocess.run(command, env=child_environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return manage
