"""The two clients that every test in this folder runs against: the contract is the same for both."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.factories import make_learners
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.interface import XBlockUserStateClient
from xblock_user_state.memory import InMemoryXBlockUserStateClient


@pytest.fixture(params=[pytest.param("django", marks=pytest.mark.django_db), "memory"])
def client(request: pytest.FixtureRequest) -> XBlockUserStateClient:
    """A client that knows the learners ann, bob and cid, and records the history of problems only."""
    if request.param == "memory":
        return InMemoryXBlockUserStateClient()
    make_learners("ann", "bob", "cid")
    return DjangoXBlockUserStateClient()


@pytest.fixture
def statements(client: XBlockUserStateClient) -> Callable[[], AbstractContextManager[object]]:
    """What to enter so that the result, where it has a length, counts the SQL statements meanwhile."""
    if isinstance(client, DjangoXBlockUserStateClient):
        return lambda: CaptureQueriesContext(connection)
    return lambda: nullcontext([])
