"""Remote clients for the tests of the contract."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from django.test import override_settings

from tests import service_keys
from tests.factories import make_learners
from tests.over_http.callers import make_host
from xblock_user_state.remote import RemoteXBlockUserStateClient

REMOTE = bool(os.environ.get("REMOTE"))
"""All tests of the contract shall run over real HTTP."""

_ENDS = (request_started, request_finished)

OVER_A_NETWORK = ("over the wire", "over HTTP")


@contextmanager
def remote_client(name: str, request: pytest.FixtureRequest) -> Iterator[RemoteXBlockUserStateClient]:
    """Make the learners ann, bob and cid, and a client over real HTTP, or without a socket.

    Without a socket the service runs in this process, and in the test's own transaction.
    """
    make_learners("ann", "bob", "cid")
    token = make_host()
    if name == "over HTTP":
        with RemoteXBlockUserStateClient(request.getfixturevalue("service").address, token) as client:
            yield client
        return
    with _connections_kept(), override_settings(ALLOWED_HOSTS=["*"], XBLOCK_USER_STATE=service_keys.SETTINGS):
        network = httpx2.WSGITransport(WSGIHandler())
        with RemoteXBlockUserStateClient("http://service.test/state", token, network=network) as client:
            yield client


@contextmanager
def _connections_kept() -> Iterator[None]:
    """Keep the test's connection over requests, as Django's test client does."""
    for signal in _ENDS:
        signal.disconnect(close_old_connections)
    yield
    for signal in _ENDS:
        signal.connect(close_old_connections)
