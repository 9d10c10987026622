"""Fixtures that several unit tests share."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from tests.counting import CountingClient
from tests.factories import ADA
from xblock_user_state.memory import InMemoryXBlockUserStateClient
from xblock_user_state.runtime import UserStateKeyValueStore


@pytest.fixture
def client() -> CountingClient:
    """An empty client; modules that need a filled or another one override it."""
    return CountingClient()


@pytest.fixture
def kvs(client: InMemoryXBlockUserStateClient) -> UserStateKeyValueStore:
    """The store of one request of ada's over the module's client."""
    return UserStateKeyValueStore(client, ADA)


@pytest.fixture
def eager_threads() -> Iterator[None]:
    """Switch threads as often as the interpreter can, so that a missing lock shows."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)
