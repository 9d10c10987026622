"""The clients that each contract test runs against."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.factories import make_learners
from tests.visitors import NamedVisitors
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.interface import UserId, XBlockUserStateClient
from xblock_user_state.memory import InMemoryXBlockUserStateClient

IDS_IN_MEMORY = {"ann": 71, "bob": 72, "cid": 73}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test with all clients that it applies to, unless its module defines a client."""
    if "clients_name" not in metafunc.fixturenames:
        return
    clients = [pytest.param("django", marks=pytest.mark.django_db), "memory"]
    if metafunc.definition.get_closest_marker("not_for_visitors") is None:
        clients.append("visitors")
    metafunc.parametrize("clients_name", clients)


@pytest.fixture
def client(clients_name: str) -> XBlockUserStateClient:
    """A client that knows the learners ann, bob and cid, and records the history of problems only."""
    if clients_name == "visitors":
        return NamedVisitors()
    if clients_name == "memory":
        return InMemoryXBlockUserStateClient(user_ids=IDS_IN_MEMORY)
    make_learners("ann", "bob", "cid")
    return DjangoXBlockUserStateClient()


@pytest.fixture
def ids(client: XBlockUserStateClient) -> Mapping[str, UserId]:
    """The ids of the learners by name."""
    if isinstance(client, DjangoXBlockUserStateClient):
        return {user.username: UserId(user.pk) for user in get_user_model().objects.all()}
    return {name: UserId(id_) for name, id_ in IDS_IN_MEMORY.items()}


@pytest.fixture
def statements(client: XBlockUserStateClient) -> Callable[[], AbstractContextManager[object]]:
    """Returns a context manager whose result has the number of SQL statements as its length."""
    if isinstance(client, DjangoXBlockUserStateClient):
        return lambda: CaptureQueriesContext(connection)
    return lambda: nullcontext([])
