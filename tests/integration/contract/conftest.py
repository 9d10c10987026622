"""The clients that each contract test runs against."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.factories import make_learners
from tests.integration import shards
from tests.integration.remote_clients import OVER_A_NETWORK, REMOTE, remote_client
from tests.visitors import NamedVisitors
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.interface import UserId, XBlockUserStateClient
from xblock_user_state.memory import InMemoryXBlockUserStateClient
from xblock_user_state.remote import RemoteXBlockUserStateClient

IDS_IN_MEMORY = {"ann": 71, "bob": 72, "cid": 73}
# Of arguments, keys and values, which both dialects of PostgreSQL treat alike.
ALIKE_ON_CITUS = {
    "test_anonymous_users",
    "test_bad_arguments",
    "test_bad_keys",
    "test_bad_states",
    "test_keys",
    "test_policies",
    "test_values",
}
# The whole wire, both ends, without a socket; it is the same on each database.
OVER_THE_WIRE = {
    "test_batch",
    "test_conditional_writes",
    "test_get_encoded",
    "test_get_many",
    "test_iteration",
    "test_keys",
    "test_lookups",
    "test_replace",
    "test_scores",
    "test_user_ids",
}
# A few with committed rows; with REMOTE=1 it is all.
OVER_HTTP = {"test_get_many"}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test with all clients that it applies to, unless its module defines a client."""
    if "clients_name" not in metafunc.fixturenames:
        return
    module = metafunc.module.__name__.rpartition(".")[2]
    if REMOTE:
        # For runs of the whole suite over real HTTP. The service sees committed rows only.
        marks = [pytest.mark.django_db(transaction=True)]
        if module == "test_policies" or "clock" in metafunc.fixturenames:
            marks.append(pytest.mark.skip("the policy and the clock are in another process"))
        metafunc.parametrize("clients_name", [pytest.param("over HTTP", marks=marks)])
        return
    clients = [pytest.param("django", marks=pytest.mark.django_db), "memory"]
    if module in OVER_THE_WIRE and connection.vendor == "sqlite":
        clients.append(pytest.param("over the wire", marks=pytest.mark.django_db))
    if module in OVER_HTTP:
        clients.append(pytest.param("over HTTP", marks=pytest.mark.django_db(transaction=True)))
    if shards.ARE_THERE and module not in ALIKE_ON_CITUS:
        clients.append(pytest.param("citus", marks=pytest.mark.django_db))
    if metafunc.definition.get_closest_marker("not_for_visitors") is None:
        clients.append("visitors")
    metafunc.parametrize("clients_name", clients)


@pytest.fixture
def client(clients_name: str, request: pytest.FixtureRequest) -> Iterator[XBlockUserStateClient]:
    """A client that knows the learners ann, bob and cid, and records the history of problems only."""
    if clients_name in OVER_A_NETWORK:
        with remote_client(clients_name, request) as remote:
            yield remote
    else:
        yield _client(clients_name, request)


def _client(clients_name: str, request: pytest.FixtureRequest) -> XBlockUserStateClient:
    if clients_name == "visitors":
        return NamedVisitors()
    if clients_name == "memory":
        return InMemoryXBlockUserStateClient(user_ids=IDS_IN_MEMORY)
    if clients_name == "citus":
        request.getfixturevalue("shards_used")
    make_learners("ann", "bob", "cid")
    return DjangoXBlockUserStateClient()


@pytest.fixture
def ids(client: XBlockUserStateClient) -> Mapping[str, UserId]:
    """The ids of the learners by name."""
    if isinstance(client, DjangoXBlockUserStateClient | RemoteXBlockUserStateClient):
        return {user.username: UserId(user.pk) for user in get_user_model().objects.all()}
    return {name: UserId(id_) for name, id_ in IDS_IN_MEMORY.items()}


@pytest.fixture
def statements(client: XBlockUserStateClient) -> Callable[[], AbstractContextManager[object]]:
    """Returns a context manager whose result has the number of SQL statements as its length."""
    if isinstance(client, DjangoXBlockUserStateClient):
        return lambda: CaptureQueriesContext(connection)
    return lambda: nullcontext([])
