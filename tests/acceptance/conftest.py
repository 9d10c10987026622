"""What the tests with real processes share: workers and learners."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.contrib.auth import get_user_model

from tests.acceptance.processes import Crew, ForkServer


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
